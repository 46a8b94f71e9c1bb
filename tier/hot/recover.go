package hot

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// load makes l what its folder holds; st is what the state file says of it, nil if nothing.
func (l *Log) load(st *logState) error {
	_, doubted := l.dir.vouch(l.name)
	if st != nil && !st.Damaged && !st.Unchecked && l.dir.stop == StopClean && !doubted {
		ok, err := l.loadClean(st)
		if ok || err != nil {
			return err
		}
	}
	if err := l.recover(st); err != nil {
		l.dir.unfinished.Store(true) // it may have removed something that is not gone for good yet
		return err
	}
	return nil
}

// loadClean takes the log as it was closed. It reports false if the folder is not what the state file says.
func (l *Log) loadClean(st *logState) (bool, error) {
	segs := make([]*segment, len(st.Segments))
	for i := range st.Segments {
		segs[i] = st.segment(l, i)
	}
	for _, s := range segs {
		info, err := l.dir.fs.Stat(s.file.path())
		if err != nil || info.Size() != s.now().size {
			l.dir.logger.Warn("a segment is not as it was closed, its log is recovered",
				"partition", l.name, "segment", s.base, "error", err)
			return false, nil
		}
	}
	s := segs[len(segs)-1]
	indexed := st.indexed()
	if l.dir.rebooted { // a clean stop syncs the log, and of its indexes what a checkpoint does
		for _, s := range segs[max(0, segmentAt(segs, indexed.base)):] {
			if err := s.verifyIndexes(); err != nil {
				l.dir.logger.Info("a segment's indexes did not reach the disk before the machine stopped, its log is recovered",
					"partition", l.name, "segment", s.base, "error", err)
				return false, nil
			}
		}
	}
	s.setVerified()
	epochs, err := epoch.New(st.Epochs)
	if err != nil {
		return false, err
	}
	l.epochs.Store(&epochs)
	l.begin(segs, indexed, max(st.Start, l.dir.startOf(l)))
	l.recall(st)
	return true, nil
}

// segment makes the i-th segment of the state, with its indexes as they were then.
func (st *logState) segment(l *Log, i int) *segment {
	g := st.Segments[i]
	s := newSegment(l, g.Base)
	s.tail = segmentTail{size: g.Size, next: g.Next, maxTime: g.MaxTime, maxTimeOffset: g.MaxTimeOffset,
		modified: g.Modified}
	s.idx.onDisk, s.tidx.onDisk = g.Index, g.TimeIndex
	s.timeAdded, s.created = g.MaxTime, g.Modified
	if i == len(st.Segments)-1 {
		s.sinceIndex, s.firstTime, s.timeAdded = st.SinceIndex, st.FirstTime, st.TimeAdded
	}
	s.idx.verified, s.tidx.verified = false, false // until somebody needs them
	return s
}

// startOf returns the log start that the checkpoint knows.
func (d *Dir) startOf(l *Log) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.starts.log[key(l.part)]
}

func (d *Dir) localStartOf(l *Log) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.starts.log[key(l.part)], d.starts.local[key(l.part)])
}

// recovery is what happens to one log after a stop that was not clean, perhaps several starts ago.
type recovery struct {
	l       *Log
	st      *logState
	reread  bool // what st vouches for is read all the same
	again   bool // a former one, on this kernel, may have changed files and not come to where that is made durable
	segs    []*segment
	epochs  epoch.Cache
	grown   bool  // the segment that is vouched for in part has more bytes than that
	touched bool  // something was found or changed that is not known to be durable
	more    bool  // bytes were, in a segment whose name is: some of it was flushed
	cut     int64 // bytes that were cut off
	indexed point // up to where the indexes are known to be durable
	// producers are what is known of them behind the last batch that was read; nil: that is not known. See follow.
	producers *walker
	snapshots []int64 // of them, behind what producers says, in order
	followed  bool
}

// recover finds out what a log holds. What the state file vouches for is taken as it is; everything above is
// verified, cut at the first batch that is not whole, on the same kernel written again (see scan), and flushed, so that
// nothing is shown that a second power cut could take away. Offsets below what was flushed are never cut (I-01): those
// bytes were whole before they counted. If they are not there or not whole, something other than a crash took them, and
// the log stays as it is (ErrDamaged).
func (l *Log) recover(st *logState) error {
	r := &recovery{l: l, st: st, reread: st != nil && st.Damaged, again: l.dir.unfinished.Load(), indexed: beginning(everything)}
	r.touched = r.again
	if err := l.dir.beginRecovery(); err != nil {
		return err
	}
	bases, err := r.list()
	if err != nil {
		return err
	}
	if err := r.readEpochs(); err != nil {
		return err
	}
	trusted, err := r.trust(bases)
	if err != nil {
		return err
	}
	if err := r.verify(bases, trusted); err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return err
	}
	l.epochs.Store(&r.epochs)
	if i := segmentAt(r.segs, r.indexed.base); i < 0 || r.segs[i].base != r.indexed.base {
		r.indexed = startOf(r.segs[0])
	}
	l.begin(r.segs, r.indexed, max(l.dir.startOf(l), 0))
	if st != nil && !r.reread {
		l.recall(st)
	}
	r.learn()
	l.wantLocal.Store(max(l.localStart.Load(), l.dir.localStartOf(l)))
	if r.cut > 0 {
		l.dir.logger.Info("cut a torn tail", "partition", l.name, "end", l.End(), "bytes", r.cut)
	}
	return nil
}

// list returns the bases of the segments that belong to the log, in order, and removes leftovers.
func (r *recovery) list() ([]int64, error) {
	l := r.l
	entries, err := l.dir.fs.ReadDir(l.folder())
	if err != nil {
		return nil, err
	}
	if found, err := r.completeSwaps(entries); err != nil {
		return nil, err
	} else if found {
		if entries, err = l.dir.fs.ReadDir(l.folder()); err != nil {
			return nil, err
		}
	}
	var bases []int64
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, deletedSuffix) || disk.IsTmp(name) {
			if err := l.dir.fs.Remove(filepath.Join(l.folder(), name)); err != nil {
				return nil, err
			}
			continue
		}
		if base, ok := parseFileName(name, logSuffix); ok {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	n, err := r.trimmed(bases)
	if err != nil {
		return nil, err
	}
	for _, base := range bases[:n] {
		if err := r.remove(base); err != nil {
			return nil, err
		}
	}
	return bases[n:], nil
}

// trimmed returns how many of the first segments had been trimmed, and are back after a power cut. One below the
// start for which no producer state was kept had not been: the start may lie at the end of what was then the last
// segment. Its batches are still needed to know their producers (I-05), until the next trim. A snapshot where a segment
// begins says what they would, also if it is empty; one that a roll wrote may not be durable yet, and is written again.
func (r *recovery) trimmed(bases []int64) (int, error) {
	start := r.l.dir.localStartOf(r.l)
	for n := len(bases) - 1; n > 0; n-- {
		if bases[n] > start {
			continue
		}
		name := filepath.Join(r.l.folder(), fileName(bases[n], snapshotSuffix))
		entries, err := r.l.readSnapshot(name)
		if err != nil {
			return 0, err
		}
		if entries != nil {
			// Before what it stands for is removed.
			err := disk.WriteFileSync(r.l.dir.fs, name, producer.AppendSnapshot(nil, entries))
			if err != nil {
				return 0, r.l.dir.writeFailed(err)
			}
			return n, nil
		}
	}
	return 0, nil
}

// remove deletes a segment's files.
func (r *recovery) remove(base int64) error {
	r.touched = true
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix} {
		err := r.l.dir.fs.Remove(filepath.Join(r.l.folder(), fileName(base, suffix)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (r *recovery) readEpochs() error {
	epochs, err := checkpoint.ReadEpochs(r.l.dir.fs, r.l.folder())
	switch {
	case err == nil, checkpoint.IsMissing(err):
	case errors.Is(err, checkpoint.ErrCorrupt):
		// It is replaced as a whole, so no power cut does this. The batches carry their epochs, too.
		r.l.dir.logger.Error("the leader epochs are read from the batches", "partition", r.l.name, "error", err)
		r.reread = true
	default:
		return err
	}
	r.epochs = epochs
	return nil
}

// trust takes the segments that the state file vouches for and returns how many of bases those are, the last one of
// them perhaps in part.
func (r *recovery) trust(bases []int64) (int, error) {
	if r.st == nil {
		return 0, nil
	}
	n := 0
	for i, g := range r.st.Segments {
		if len(bases) > 0 && g.Base < bases[0] {
			continue // trimmed since
		}
		if n == len(bases) || g.Base != bases[n] {
			if g.Size > 0 {
				return 0, r.damaged(g.Base, 0)
			}
			break
		}
		info, err := r.l.dir.fs.Stat(filepath.Join(r.l.folder(), fileName(g.Base, logSuffix)))
		if err != nil {
			return 0, err
		}
		last := i == len(r.st.Segments)-1
		if info.Size() < g.Size {
			return 0, r.damaged(g.Base, info.Size())
		}
		if r.reread || (!last && info.Size() != g.Size) {
			r.reread = true // from here on; what follows may be as short as a crash leaves it, but not shorter
			n++
			continue
		}
		s := r.st.segment(r.l, i)
		r.grown = last && info.Size() != g.Size
		r.segs = append(r.segs, s)
		n++
	}
	return len(r.segs), nil
}

// damaged says that a segment ends before what the state file vouches for.
func (r *recovery) damaged(base, size int64) error {
	path := filepath.Join(r.l.dir.root, r.l.name)
	return fmt.Errorf("%w: %s is whole up to byte %d, and %d bytes had been flushed; something other than firn or a crash took them. "+
		"The partition stays offline and its segments as they are. Stop firn, then either put the file back, or delete the folder %s: "+
		"firn then begins the partition anew, with all of it that is in the archive",
		ErrDamaged, filepath.Join(path, fileName(base, logSuffix)), size, r.vouched(base), path)
}

// durable is how many bytes of a segment the state file says are in its file for good.
func (r *recovery) durable(base int64) int64 {
	if r.st != nil {
		for _, g := range r.st.Segments {
			if g.Base == base {
				return g.Size
			}
		}
	}
	return 0
}

// vouched is how many bytes of a segment the state file, or the journal, says were flushed.
func (r *recovery) vouched(base int64) int64 {
	size := r.durable(base)
	if v, ok := r.l.dir.vouch(r.l.name); ok && v.base == base {
		size = max(size, v.size)
	}
	return size
}

// verify goes through everything that is not vouched for, and ends the log at the first batch that is not whole.
func (r *recovery) verify(bases []int64, trusted int) error {
	if trusted > 0 {
		n, whole, err := r.resume()
		if err != nil {
			return err
		}
		if !whole {
			return r.removeFrom(bases, n)
		}
		trusted = n
	}
	for i := trusted; i < len(bases); i++ {
		if n := len(r.segs); n > 0 {
			before := r.segs[n-1]
			if before.now().next != bases[i] {
				// A segment in between never reached the disk, so nothing from here on was ever flushed.
				return r.removeFrom(bases, i)
			}
			if err := before.finish(); err != nil { // it was read, or it is finished already
				return err
			}
		}
		s := newSegment(r.l, bases[i])
		if at := startOf(s); r.indexed.above(&at) {
			r.indexed = at
		}
		s.created = r.l.dir.nowMs()
		r.segs = append(r.segs, s)
		r.touched = true
		whole, err := r.scan(s)
		if err != nil {
			return err
		}
		if !whole {
			return r.removeFrom(bases, i+1)
		}
		if s.file.dirty.Load() && r.l.dir.files.len() > r.l.dir.o.MaxOpenFiles { // it is not closed before
			if err := r.sync(&s.file); err != nil {
				return err
			}
		}
	}
	if v, ok := r.l.dir.vouch(r.l.name); ok && !slices.Contains(bases, v.base) && !r.below(v.base, bases) {
		return r.damaged(v.base, 0)
	}
	return nil
}

// below reports whether a segment that is not there lies below the log's start as a whole: it was trimmed, now or before.
func (r *recovery) below(base int64, bases []int64) bool {
	return len(bases) > 0 && base < bases[0] && bases[0] <= r.l.dir.localStartOf(r.l)
}

func (r *recovery) removeFrom(bases []int64, i int) error {
	for _, base := range bases[i:] {
		if r.vouched(base) > 0 { // what lies before it is not whole any more
			return r.damaged(base, 0)
		}
		info, err := r.l.dir.fs.Stat(filepath.Join(r.l.folder(), fileName(base, logSuffix)))
		if err != nil {
			return err
		}
		r.cut += info.Size()
		if err := r.remove(base); err != nil {
			return err
		}
	}
	return nil
}

// scan verifies the batches of s from the end of its tail on, enters them, and cuts the file after the last that is
// whole. It reports whether that was all.
func (r *recovery) scan(s *segment) (whole bool, err error) {
	if err := r.cutIndexes(s); err != nil {
		return false, err
	}
	h, err := s.file.acquire(false)
	if err != nil {
		return false, err
	}
	defer h.release()
	size, err := h.Size()
	if err != nil {
		return false, err
	}
	// On the same kernel, an fdatasync may have failed before: the page cache shows what it could not write, takes it for
	// clean, and the next fdatasync says that all is well (I-31). Written again, it is what is synced and shown (I-37).
	// In page-cache mode nobody was told that a flush had been done, and it may be gigabytes: only if one is known to have failed.
	rewrite := int64(math.MaxInt64)
	if d := r.l.dir; d.doubt || !d.rebooted && r.l.config().flushMode() {
		if rewrite = r.durable(s.base); rewrite < size {
			s.file.dirty.Store(true)
		}
	}
	r.follow(s)
	interval := int64(r.l.config().IndexIntervalBytes)
	t := s.now()
	err = verified(h.File, t.size, size, rewrite, func(hd *record.Header) error {
		if hd.BaseOffset < t.next {
			return fmt.Errorf("offset %d after %d: %w", hd.BaseOffset, t.next, ErrCorruptLog)
		}
		if hd.LastOffset()-s.base > 1<<31-1 {
			return fmt.Errorf("offset %d in segment %d: %w", hd.LastOffset(), s.base, ErrCorruptLog)
		}
		if s.note(&t, hd, interval) {
			if err := s.flushIndexes(); err != nil {
				return err
			}
		}
		if last, ok := r.epochs.Latest(); !ok || hd.LeaderEpoch > last.Epoch {
			r.epochs, _ = r.epochs.Assign(hd.LeaderEpoch, hd.BaseOffset)
		}
		r.lead(hd)
		return nil
	})
	if err != nil && !errors.Is(err, ErrCorruptLog) {
		return false, err
	}
	t.modified = r.l.dir.nowMs()
	s.set(t)
	s.setVerified()
	if t.size < r.vouched(s.base) {
		return false, r.damaged(s.base, t.size)
	}
	if t.size < size {
		r.cut += size - t.size
		return false, h.Truncate(t.size)
	}
	return true, nil
}

// verified calls fn for every batch of f between positions pos and end that is whole and whose CRC is good. The
// first that is not is ErrCorruptLog. What fn took from position rewrite on is written again where it is.
func verified(f disk.File, pos, end, rewrite int64, fn func(*record.Header) error) error {
	block := getBuf(largeBuf)
	defer putBuf(block)
	b := block.b
	have := 0 // bytes from pos on that b holds
	for pos < end {
		n := int(min(int64(len(b)), end-pos))
		if err := readFull(f, b[have:n], pos+int64(have)); err != nil {
			return err
		}
		used, err := batches(b[:n], int64(n) == end-pos, fn)
		if at := max(pos, rewrite); at < pos+int64(used) {
			if _, werr := f.WriteAt(b[at-pos:used], at); werr != nil {
				return werr
			}
		}
		if err != nil {
			return fmt.Errorf("%s: position %d: %w", f.Name(), pos+int64(used), err)
		}
		pos += int64(used)
		if used == 0 { // a batch that is larger than the buffer
			h, err := record.ParseHeader(b[:n])
			if err == nil {
				err = plausible(h, end-pos)
			}
			if err != nil {
				return fmt.Errorf("%s: position %d: %w: %w", f.Name(), pos, ErrCorruptLog, err)
			}
			larger := make([]byte, h.Size())
			copy(larger, b[:n])
			b = larger
		}
		have = copy(b, b[used:n])
	}
	return nil
}

// batches calls fn for the batches at the beginning of b and returns how many bytes those have that it took. One that
// is cut short is no error unless it is the last of all.
func batches(b []byte, last bool, fn func(*record.Header) error) (used int, err error) {
	for used < len(b) {
		h, err := record.CheckStored(b[used:])
		if errors.Is(err, record.ErrTruncated) && !last {
			return used, nil // it may be whole in the file
		}
		if err != nil {
			return used, fmt.Errorf("%w: %w", ErrCorruptLog, err)
		}
		if err := fn(&h); err != nil {
			return used, err
		}
		used += h.Size()
	}
	return used, nil
}

// finish makes what was found durable. There is always a segment to append to.
func (r *recovery) finish() error {
	l, d := r.l, r.l.dir
	start := d.localStartOf(l)
	if n := len(r.segs); n > 0 && r.segs[n-1].now().next < start {
		d.logger.Error("a log ends before it begins, and is begun anew", "partition", l.name,
			"end", r.segs[n-1].now().next, "start", start)
		for _, s := range r.segs {
			if err := r.remove(s.base); err != nil {
				return err
			}
			s.shut()
		}
		r.segs, r.producers = nil, nil
	}
	if len(r.segs) == 0 {
		if r.st != nil { // its files are gone: at least no offset is handed out again (I-03)
			d.logger.Error("all segments are gone", "partition", l.name, "had", r.st.end())
			start = max(start, r.st.end())
		}
		s, err := l.createSegment(start, d.nowMs())
		if err != nil {
			return err
		}
		r.segs, r.touched = []*segment{s}, true
	}
	end := r.segs[len(r.segs)-1].now().next
	r.epochs, _ = r.epochs.TruncateFromEnd(end)
	if err := l.dropSnapshots(func(base int64) bool {
		r.touched = r.touched || base > end
		return base > end // of what was cut: other batches will have those offsets
	}); err != nil {
		return err
	}
	if !r.touched && !r.more {
		return nil
	}
	for _, s := range r.segs {
		if !r.again && r.durable(s.base) > 0 && s.base < r.st.last().Base && !s.file.dirty.Load() {
			continue
		}
		if err := r.sync(&s.file); err != nil {
			return err
		}
	}
	if !r.touched {
		return nil
	}
	if err := d.fs.SyncDir(l.folder()); err != nil {
		return d.syncFailed(err)
	}
	return nil
}

// sync makes a file of a segment durable. A failure is not for the caller to try again: a second attempt, with another
// descriptor, would find that all is well (I-31).
func (r *recovery) sync(f *file) error {
	h, err := f.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	if err := h.Datasync(); err != nil {
		return r.l.dir.syncFailed(err)
	}
	f.dirty.Store(false)
	return nil
}
