package hot

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// Suffixes of the files of a segment that takes the place of others, as Kafka's.
const (
	cleanedSuffix = ".cleaned" // being written: worth nothing after a crash
	swapSuffix    = ".swap"    // whole and durable: replaces what is there after a crash
)

// Rewrite is a segment that is being written to take the place of one or several consecutive ones, for the log cleaner.
// It is used by one goroutine, and ended by Commit or Abort.
//
// All that can happen to the log meanwhile but a change of the replaced segments (Trim, Truncate, Reset) goes on
// undisturbed; after such a change Commit gives ErrChanged.
//
// Every crash leaves either the old segments or the new one. The order (Commit): the new file's content is durable; the
// state file vouches for nothing that will be replaced; the file is renamed from .cleaned to .swap, durably: from here on
// a recovery completes the swap; the old files go, durably; the new one takes its name.
type Rewrite struct {
	l   *Log
	old []*segment
	new *segment
	t   segmentTail
	end int64 // where the replaced segments end
}

// Rewrite begins a segment in place of those from base on that end at or before end. The active one cannot be replaced.
// One rewrite of a log goes on at a time. ErrChanged: there are no segments with these limits (any more).
func (l *Log) Rewrite(base, end int64) (*Rewrite, error) {
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if err := l.changeable(); err != nil {
		return nil, err
	}
	old := between(l.segments(), base, end)
	if old == nil {
		return nil, fmt.Errorf("%s: no segments that cover [%d, %d): %w", l.name, base, end, ErrChanged)
	}
	s := newSegment(l, base)
	for _, f := range s.files() {
		f.suffix += cleanedSuffix
		if err := l.dir.fs.Remove(f.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, l.writeFailed(err)
		}
		// The sweep leaves a dirty file open: its name changes while it is in use.
		f.dirty.Store(true)
	}
	h, err := s.file.acquire(true)
	if err != nil {
		return nil, l.writeFailed(err)
	}
	h.release()
	return &Rewrite{l: l, old: old, new: s, t: noTime(base), end: end}, nil
}

// between returns the segments that cover exactly [base, end), without the active one; nil if none do.
func between(segs []*segment, base, end int64) []*segment {
	i := segmentAt(segs, base)
	if i < 0 || segs[i].base != base {
		return nil
	}
	for j := i; j < len(segs)-1; j++ {
		if next := segs[j].now().next; next == end {
			return segs[i : j+1 : j+1]
		}
	}
	return nil
}

func (s *segment) files() [3]*file { return [3]*file{&s.file, &s.idx.file, &s.tidx.file} }

// Append writes whole batches to the segment, in order of offset, all within the replaced range.
func (r *Rewrite) Append(batches []byte) error {
	if len(batches) == 0 {
		return nil
	}
	if r.t.size+int64(len(batches)) > math.MaxInt32 {
		return fmt.Errorf("%s: segment %d would grow past 2 GiB: %w", r.l.name, r.new.base, ErrCorruptLog)
	}
	h, err := r.new.file.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	if _, err := h.WriteAt(batches, r.t.size); err != nil {
		return r.l.writeFailed(err)
	}
	interval := int64(r.l.config().IndexIntervalBytes)
	for it := record.Batches(batches); ; {
		if !it.Next() {
			return it.Err()
		}
		b := it.Header()
		if b.BaseOffset < r.t.next || b.NextOffset() > r.end || b.LastOffset()-r.new.base > math.MaxInt32 {
			return fmt.Errorf("%s: batch [%d, %d) in segment [%d, %d) after %d: %w", r.l.name, b.BaseOffset,
				b.NextOffset(), r.new.base, r.end, r.t.next, ErrCorruptLog)
		}
		if r.new.note(&r.t, &b, interval) {
			if err := r.new.flushIndexes(); err != nil {
				return r.l.writeFailed(err)
			}
		}
	}
}

// Abort takes back what was written.
func (r *Rewrite) Abort() {
	for _, f := range r.new.files() {
		name := f.bar()
		f.dirty.Store(false)
		f.shut()
		if err := r.l.dir.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.l.dir.logger.Warn("removing an unfinished segment failed, the next recovery tries again",
				"partition", r.l.name, "file", name, "error", err)
		}
	}
}

// Commit puts the new segment in place of the old ones and returns how many bytes that frees. The last batch must end
// where the old segments did, if need be as an empty one: recovery tells a segment that is missing by the gap. Until
// then readers see the old segments, and who pinned one may finish. After an error the log is as it was, or the Dir is
// offline.
func (r *Rewrite) Commit() (freed int64, err error) {
	l := r.l
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if err := r.ready(); err != nil {
		r.Abort()
		return 0, err
	}
	if err := l.settle(); err != nil { // else the journal would bring the old bytes back
		r.Abort()
		return 0, err
	}
	if err := r.seal(); err != nil {
		r.Abort()
		return 0, l.writeFailed(err)
	}
	err = r.disown()
	if err == nil {
		err = l.dir.fs.Rename(r.new.file.path(), r.swapName())
	}
	if err != nil {
		r.settle()
		r.Abort()
		return 0, l.writeFailed(err)
	}
	// From here on a recovery would complete it, so there is no way back.
	if err := r.swap(); err != nil {
		l.dir.fail(err)
		return 0, fmt.Errorf("%s: %w: %w", l.name, ErrOffline, err)
	}
	for _, s := range r.old {
		freed += s.now().size
	}
	for _, s := range r.old[1:] {
		err := l.dir.fs.Remove(filepath.Join(l.folder(), fileName(s.base, snapshotSuffix)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.dir.logger.Warn("deleting an old producer snapshot failed", "partition", l.name, "offset", s.base, "error", err)
		}
	}
	return freed - r.t.size, nil
}

// ready says why the new segment cannot take the place of the old ones, now or ever.
func (r *Rewrite) ready() error {
	l := r.l
	if err := l.changeable(); err != nil {
		return err
	}
	segs := l.segments()
	i := segmentAt(segs, r.new.base)
	if i < 0 || len(segs)-1 < i+len(r.old) || !slices.Equal(segs[i:i+len(r.old)], r.old) {
		return fmt.Errorf("%s: the segments of [%d, %d) changed: %w", l.name, r.new.base, r.end, ErrChanged)
	}
	if r.t.next != r.end {
		return fmt.Errorf("%s: the new segment ends at %d, the old ones at %d: %w", l.name, r.t.next, r.end, ErrCorruptLog)
	}
	if l.flushed.Load() < r.end { // what is not durable yet is not replaced by what is: the flush that a roll begins comes first
		return fmt.Errorf("%s: offsets up to %d are not flushed yet: %w", l.name, r.end, ErrChanged)
	}
	return nil
}

// KeepProducers makes the producer state at offset, where a segment begins, durable as soon as the folder is synced, which
// Commit does. A cleaner calls it before it replaces segments below: cleaned batches still tell each producer's last
// sequence, but not the ones before (I-05).
func (l *Log) KeepProducers(offset int64) error {
	if err := l.LearnProducers(); err != nil {
		return err
	}
	l.trimMu.Lock()
	defer l.trimMu.Unlock()
	if err := l.changeable(); err != nil {
		return err
	}
	l.mu.Lock()
	none := l.producers.Len() == 0
	l.mu.Unlock()
	if none {
		return nil
	}
	if err := l.keepProducers(offset); err != nil {
		return fmt.Errorf("keeping the producer state at offset %d: %w", offset, l.writeFailed(err))
	}
	return nil
}

// seal makes the new segment's file whole and durable, its name included.
func (r *Rewrite) seal() error {
	s := r.new
	r.t.modified = r.old[len(r.old)-1].now().modified
	s.set(r.t)
	s.created = r.t.modified
	if err := s.finish(); err != nil {
		return err
	}
	if _, err := s.syncIndexes(); err != nil { // else a power cut costs a walk through all of it
		return err
	}
	h, err := s.file.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	return h.Datasync()
}

// disown makes the state file say nothing about the old segments: it could be mistaken for the new one's.
func (r *Rewrite) disown() error {
	l := r.l
	l.mu.Lock()
	l.replacing = r.old[0]
	l.mu.Unlock()
	return l.dir.saveState()
}

// settle lets the state file vouch for all segments again.
func (r *Rewrite) settle() {
	r.l.mu.Lock()
	r.l.replacing = nil
	r.l.mu.Unlock()
	r.l.dir.moved.Store(true) // what it says now is less
}

// swapName is what the new segment's file is called while it takes the place of the old ones.
func (r *Rewrite) swapName() string {
	return filepath.Join(r.l.folder(), fileName(r.new.base, logSuffix+swapSuffix))
}

// swap renames the files in the order that Rewrite describes; the first step is done.
func (r *Rewrite) swap() error {
	l, d, s := r.l, r.l.dir, r.new
	if err := d.fs.SyncDir(l.folder()); err != nil {
		return err
	}
	from := [3]string{r.swapName(), s.idx.file.path(), s.tidx.file.path()}
	for _, f := range s.files() {
		h, err := f.acquire(false) // it is open already, and stays so: nothing else has that name yet
		if err != nil {
			return err
		}
		defer h.release()
		f.mu.Lock()
		f.suffix = strings.TrimSuffix(f.suffix, cleanedSuffix)
		f.mu.Unlock()
	}
	l.publishRewrite(r)
	for _, old := range r.old {
		if err := l.retire(old); err != nil {
			return err
		}
	}
	if err := d.fs.SyncDir(l.folder()); err != nil {
		return err
	}
	// The indexes first: recovery takes none from before the swap for one of the new segment, and the other way round.
	for _, i := range []int{1, 2, 0} {
		if err := d.fs.Rename(from[i], s.files()[i].path()); err != nil {
			return err
		}
	}
	// These names need not be durable: what a crash leaves of them is a .swap file, which the next start, clean or not,
	// takes the same way.
	for _, f := range s.files() {
		f.dirty.Store(false)
	}
	r.settle()
	return nil
}

// publishRewrite lets readers see the new segment instead of the old ones.
func (l *Log) publishRewrite(r *Rewrite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	segs := l.segments()
	i := segmentAt(segs, r.new.base)
	next := make([]*segment, 0, len(segs)-len(r.old)+1)
	next = append(append(append(next, segs[:i]...), r.new), segs[i+len(r.old):]...)
	r.new.synced, r.new.entrySynced = r.t.size, true
	r.new.idx.verified, r.new.tidx.verified = true, true
	l.segs.Store(&next)
	if l.durable.base < r.end { // what it describes is gone; all of it was flushed
		l.durable = startOf(next[i+1])
	}
	at := *l.indexed
	if at.base >= r.new.base && at.base < r.end { // the new segment's are durable (seal)
		at = startOf(next[i+1])
	}
	l.indexed = &at // a checkpoint that is under way comes too late
	l.hints.clear()
}

// completeSwaps brings to an end, in a folder that nobody uses yet, what a crash left of a Rewrite, and reports whether
// there was anything: a .cleaned file is worth nothing, a .swap file takes the place of all segments in its range.
func (r *recovery) completeSwaps(entries []fs.DirEntry) (bool, error) {
	d, folder := r.l.dir, r.l.folder()
	found := false
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), cleanedSuffix) {
			found = true
			if err := d.fs.Remove(filepath.Join(folder, e.Name())); err != nil {
				return false, err
			}
		}
	}
	for _, e := range entries {
		base, ok := parseFileName(e.Name(), logSuffix+swapSuffix)
		if !ok {
			continue
		}
		found = true
		if err := r.completeSwap(base, entries); err != nil {
			return false, fmt.Errorf("completing %s: %w", e.Name(), err)
		}
	}
	return found, nil
}

func (r *recovery) completeSwap(base int64, entries []fs.DirEntry) error {
	d, folder := r.l.dir, r.l.folder()
	name := filepath.Join(folder, fileName(base, logSuffix))
	end, err := endOfSegment(d.fs, name+swapSuffix, base)
	if err != nil {
		return err
	}
	for _, e := range entries {
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
			if b, ok := parseFileName(e.Name(), suffix); ok && b >= base && b < end {
				if err := d.fs.Remove(filepath.Join(folder, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
	}
	if err := d.fs.SyncDir(folder); err != nil {
		return err
	}
	// Only now: with the new segment under its name, one that should be gone would look like a torn log.
	if err := d.fs.Rename(name+swapSuffix, name); err != nil {
		return err
	}
	d.logger.Info("completed the swap of a cleaned segment", "partition", r.l.name, "segment", base, "end", end)
	r.touched = true // so finish makes it durable
	return nil
}

// endOfSegment returns the offset after the last batch of a segment's file, which is known to be whole.
func endOfSegment(fsys disk.FS, name string, base int64) (int64, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	b := getBuf(largeBuf)
	defer putBuf(b)
	sc := scanner{f: f, end: size, b: b.b}
	end := base
	for sc.next() {
		end = sc.h.NextOffset()
	}
	if sc.err == nil && end <= base {
		return 0, fmt.Errorf("%s holds no batch: what it was to replace is kept: %w", name, ErrCorruptLog)
	}
	return end, sc.err
}

// SegmentReader reads the batches of one segment from its beginning, whatever the log start is. It pins the file: it can
// be read although the segment is trimmed.
type SegmentReader struct {
	h    *handle
	s    *segment
	size int64
}

// OpenSegment opens the segment with that base; ErrChanged if there is none.
func (l *Log) OpenSegment(base int64) (*SegmentReader, error) {
	var r *SegmentReader
	err := l.settled(func() error {
		segs := l.segments()
		i := segmentAt(segs, base)
		if i < 0 || segs[i].base != base {
			return fmt.Errorf("%s: no segment %d: %w", l.name, base, ErrChanged)
		}
		h, err := segs[i].file.acquire(false)
		if err == nil {
			r = &SegmentReader{h: h, s: segs[i], size: segs[i].now().size}
		}
		return err
	})
	return r, err
}

// Size is the number of bytes of whole batches.
func (r *SegmentReader) Size() int64 { return r.size }

// Find returns a position at which a batch begins and before which all batches end at or below offset.
func (r *SegmentReader) Find(offset int64) (int64, error) {
	pos, _, err := r.s.find(offset)
	return min(pos, r.size), err
}

// Read fills buf from the position, or with what there is up to Size, and returns how many bytes that is.
func (r *SegmentReader) Read(pos int64, buf []byte) (int, error) {
	n := int(min(int64(len(buf)), r.size-pos))
	if n <= 0 {
		return 0, nil
	}
	return n, readFull(r.h, buf[:n], pos)
}

// Close lets go of the file.
func (r *SegmentReader) Close() { r.h.release() }

// FirstTimestamp returns the greatest timestamp (ms) of the first batch of the segment with that base, as Kafka does to
// tell how old a segment is; record.NoTimestamp if there is none.
func (l *Log) FirstTimestamp(base int64) (int64, error) {
	r, err := l.OpenSegment(base)
	if err != nil {
		return record.NoTimestamp, err
	}
	defer r.Close()
	var b [record.HeaderSize]byte
	if n, err := r.Read(0, b[:]); err != nil || n < len(b) {
		return record.NoTimestamp, err
	}
	h, err := record.ParseHeader(b[:])
	return h.MaxTimestamp, err
}

// LastRecord is what has to stay of a producer when its batches are cleaned.
type LastRecord struct {
	Offset int64 // of its last data record; producer.None if it is not known
	Epoch  int16
}

// LastRecords returns the last record of every producer that is known.
func (l *Log) LastRecords() (map[int64]LastRecord, error) {
	if err := l.LearnProducers(); err != nil {
		return nil, err
	}
	var out map[int64]LastRecord
	// Exclusive, because an append that is queued may yet fail: then the batch before is the last.
	err := l.exclusive(func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		entries := l.producers.Entries()
		out = make(map[int64]LastRecord, len(entries))
		for i := range entries {
			last := LastRecord{Offset: producer.None, Epoch: entries[i].Epoch}
			if b := entries[i].Batches(); len(b) > 0 {
				last.Offset = b[len(b)-1].LastOffset
			}
			out[entries[i].ID] = last
		}
		return nil
	})
	return out, err
}

// Config returns the log's configuration, which must not be changed.
func (l *Log) Config() *Config { return l.config() }

// Logs lists the open logs, in no order.
func (d *Dir) Logs() []*Log { return d.allLogs() }

// Path is the log directory's, and FS the file system that it lies in.
func (d *Dir) Path() string { return d.root }

// FS is the file system of the log directory.
func (d *Dir) FS() disk.FS { return d.fs }

// SaveState makes what is known of the logs durable, so that a recovery need not read what it describes.
func (d *Dir) SaveState() error {
	if err := d.Offline(); err != nil {
		return err
	}
	if err := d.checkpoint(allLogsDue); err != nil {
		return err
	}
	return d.saveState()
}

// WriteFailed says what a failed write in the log directory means, and takes it offline unless the disk is merely full
// (I-31). It returns ErrFull or ErrOffline around err.
func (d *Dir) WriteFailed(err error) error { return d.writeFailed(err) }
