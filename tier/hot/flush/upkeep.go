package flush

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/firnlog/firn/tier/disk"
)

// The upkeep of a journal: files are filled with zeros before they are needed, logs are asked to write back what the
// journal holds of them, and a full file is let go of once all that it names is durable in the logs' own files. All of it
// happens beside the rounds; a round that finds no room has its logs synced themselves, which is what bounds the journal.

func (j *Journal) run() {
	defer close(j.done)
	for {
		select {
		case <-j.quit:
			return
		case <-j.kick:
		}
		if err := j.keep(); err != nil {
			j.fail(err)
			return
		}
	}
}

func (j *Journal) fail(err error) {
	j.mu.Lock()
	if j.err == nil {
		j.err = err
	}
	j.cond.Broadcast()
	j.mu.Unlock()
	if j.o.OnError != nil {
		j.o.OnError(err)
	}
}

// keep does what there is to do.
func (j *Journal) keep() error {
	j.keeping.Lock()
	defer j.keeping.Unlock()
	for {
		select {
		case <-j.quit:
			return nil
		default:
		}
		did, err := false, j.failure()
		if err == nil {
			did, err = j.abandon()
		}
		if err == nil && !did {
			did, err = j.prepare()
		}
		if err == nil && !did {
			did, err = j.recycle()
		}
		if err == nil && !did {
			did, err = j.relieve()
		}
		if err != nil {
			return err
		}
		if !did {
			break
		}
		j.mu.Lock()
		j.cond.Broadcast()
		j.mu.Unlock()
	}
	j.writeback()
	return nil
}

// failure is failed for who does not hold mu.
func (j *Journal) failure() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed()
}

// failed is, under mu, that for which the journal has come to its end. Being closed is none.
func (j *Journal) failed() error {
	if errors.Is(j.err, errClosed) {
		return nil
	}
	return j.err
}

// prepare fills the next part of a file with zeros, or makes another file, when that will soon be needed.
func (j *Journal) prepare() (did bool, err error) {
	f := j.wanting()
	if f == nil {
		return false, nil
	}
	err = j.fill(f)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, errOff):
		return true, nil
	case disk.Full(err):
		j.o.Logger.Warn("no room for the flush journal: logs are flushed themselves", "error", err)
		j.mu.Lock()
		j.fullAt = time.Now()
		j.mu.Unlock()
		_, err := j.drain()
		return true, err
	}
	return false, fmt.Errorf("flush journal: %w", err)
}

// wanting returns the file that is to be filled further; one that is not there yet comes without a file. Nil: none.
func (j *Journal) wanting() *journalFile {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil || j.off || !j.fullAt.IsZero() && time.Since(j.fullAt) < retryFull {
		return nil
	}
	j.fullAt = time.Time{}
	step := min(slice, j.o.FileBytes)
	if f := j.cur; f != nil && f.ready < j.o.FileBytes {
		if f.ready-f.at < step {
			return f
		}
		return nil // the next one has time
	}
	if len(j.free) > 0 {
		if f := j.free[0]; f.ready < step {
			return f
		}
		return nil
	}
	if f := j.cur; j.made < j.o.Files && (f == nil || j.o.FileBytes-f.at < 2*step) {
		return &journalFile{}
	}
	return nil
}

var zeros [256 << 10]byte

// fill makes the file if need be, and fills a slice of it, durably: a write into it changes no metadata from then on.
func (j *Journal) fill(f *journalFile) error {
	if f.f == nil {
		j.mu.Lock()
		made := j.made
		j.mu.Unlock()
		if made == 0 { // what is left of another journal would make this one not count
			if _, err := journalFiles(j.o.FS, j.o.Dir); err != nil {
				return err
			}
		}
		name := fileName(j.o.Dir, made)
		of, err := j.o.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return err
		}
		// Without its name, a power cut would take what was written to it.
		if err := j.o.FS.SyncDir(j.o.Dir); err != nil {
			_ = of.Close()
			return syncError{err}
		}
		j.mu.Lock()
		f.f = of
		j.made++
		j.free = append(j.free, f)
		j.mu.Unlock()
		j.stats.Files.Add(1)
	}
	from := f.ready
	to := min(from+slice, j.o.FileBytes)
	for at := from; at < to; at += int64(len(zeros)) {
		if _, err := f.f.WriteAt(zeros[:min(int64(len(zeros)), to-at)], at); err != nil {
			return err
		}
	}
	if err := f.f.Datasync(); err != nil {
		return syncError{err}
	}
	if from == 0 { // also the first to find out whether the disk takes such a write
		if err := f.f.WritevSync([][]byte{head(j.life)}, 0); disk.Full(err) || disk.Unsupported(err) {
			j.mu.Lock()
			j.giveUp(err)
			j.mu.Unlock()
			return errOff
		} else if err != nil {
			return err
		}
	}
	j.mu.Lock()
	f.ready = to
	j.mu.Unlock()
	return nil
}

// syncError hides that a sync failed for want of room: a failed sync is never a passing matter (I-31).
type syncError struct{ error }

func (e syncError) Error() string { return "making a file durable: " + e.error.Error() }

func fileName(dir string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("%s%d", filePrefix, n))
}

// recycle lets go of the oldest full file.
func (j *Journal) recycle() (did bool, err error) {
	j.mu.Lock()
	if len(j.full) == 0 {
		j.mu.Unlock()
		return false, nil
	}
	f := j.full[0]
	behind := j.behind(f)
	j.mu.Unlock()
	if err := j.settle(behind); err != nil {
		return false, err
	}
	j.mu.Lock()
	j.release(f)
	j.full = j.full[1:]
	j.mu.Unlock()
	return true, nil
}

// behind lists the logs that hold less than the file names; the caller holds mu.
func (j *Journal) behind(f *journalFile) []Log {
	var logs []Log
	for l, next := range f.logs {
		if l.Durable() < next {
			logs = append(logs, l)
		}
	}
	return logs
}

func (j *Journal) settle(logs []Log) error {
	if len(logs) == 0 {
		return nil
	}
	j.stats.Settled.Add(int64(len(logs)))
	return syncAll(logs, j.o.Parallel)
}

// release makes a file free whose logs are all durable; the caller holds mu and takes it from where it was.
func (j *Journal) release(f *journalFile) {
	j.gone = append(j.gone, f.logs)
	f.logs, f.used = nil, true
	j.free = append(j.free, f)
	j.stats.Recycled.Add(1)
}

// relieve lets go who waits to have a log forgotten when nothing makes room for that: rounds may have named logs again
// since a full disk was last drained for.
func (j *Journal) relieve() (did bool, err error) {
	j.mu.Lock()
	stuck := j.waiting > 0 && !j.fits(block, 2*block)
	j.mu.Unlock()
	if !stuck {
		return false, nil
	}
	return j.drain()
}

// drain makes all logs durable that the journal names, and says so in it: with a full disk, what frees space must not
// have to wait for room in the journal.
func (j *Journal) drain() (did bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var logs []Log
	for _, f := range j.counting() {
		for l := range f.logs {
			logs = append(logs, l)
		}
	}
	if len(logs) == 0 && len(j.gone) == 0 || j.err != nil || j.off {
		return false, nil
	}
	j.draining = true // what the journal took meanwhile would not be in the logs' files
	j.mu.Unlock()
	err = j.settle(logs)
	j.mu.Lock()
	j.draining = false
	if err != nil || j.err != nil || j.off {
		return false, err
	}
	for _, f := range j.full {
		j.release(f)
	}
	j.full, j.cur.logs, j.cur.first = nil, map[Journaled]int64{}, j.seq+1
	j.frame.reset(j.life, j.seq+1)
	if err := j.put(); err != nil && !errors.Is(err, errOff) { // Forget leaves room for it
		return false, err
	}
	return true, nil
}

// counting lists the files whose frames count, oldest first; the caller holds mu.
func (j *Journal) counting() []*journalFile {
	if j.cur == nil {
		return nil
	}
	return append(j.full[:len(j.full):len(j.full)], j.cur)
}

// writeback asks logs to write back after each so many bytes in the journal.
func (j *Journal) writeback() {
	j.mu.Lock()
	if j.paced < slice || j.cur == nil {
		j.mu.Unlock()
		return
	}
	j.paced = 0
	logs := make([]Journaled, 0, len(j.cur.logs))
	for l := range j.cur.logs {
		logs = append(logs, l)
	}
	j.mu.Unlock()
	for _, l := range logs {
		l.Writeback()
	}
}
