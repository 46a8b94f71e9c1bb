package hot

import (
	"errors"
	"io/fs"
)

// resume goes on where the state file says that recovery can: at the end of what it vouches for or, if the index entries
// below are not all there, where those are that were made durable. It gives the number of segments up to there.
func (r *recovery) resume() (n int, whole bool, err error) {
	n, r.indexed = len(r.segs), r.st.indexed()
	if first := r.segs[0]; r.indexed.base < first.base {
		r.indexed = startOf(first) // trimmed since
	}
	if r.indexed.base > r.segs[n-1].base {
		return n, true, nil // beyond what is taken as it is
	}
	i := segmentAt(r.segs, r.indexed.base) // what lies below is verified when somebody needs it
	for _, s := range r.segs[i:] {
		if err := s.verifyIndexes(); err != nil {
			r.l.dir.logger.Info("index entries did not reach the disk before the machine stopped, their batches are read again",
				"partition", r.l.name, "segment", s.base, "from", r.segs[i].base, "because", err)
			return r.goBack(i)
		}
		s.setVerified()
	}
	s := r.segs[n-1]
	if s.base != r.st.last().Base {
		return n, true, nil // the next one is not as the state file says
	}
	if !r.grown { // nothing was written since
		if size := s.now().size; size < r.vouched(s.base) {
			return n, false, r.damaged(s.base, size)
		}
		return n, true, r.cutIndexes(s)
	}
	r.goesOn(s)
	whole, err = r.scan(s)
	return n, whole, err
}

// goBack goes on in the i-th segment at the point up to which the indexes were made durable, or at its beginning if they
// are damaged all the same, and forgets the segments behind it.
func (r *recovery) goBack(i int) (n int, whole bool, err error) {
	for _, s := range r.segs[i+1:] {
		s.shut()
	}
	s := r.segs[i]
	r.segs = r.segs[:i+1]
	s.goBack(r.indexed)
	if err := s.verifyIndexes(); err != nil {
		r.indexed = startOf(s)
		s.goBack(r.indexed)
	}
	if s.base == r.st.last().Base && r.grown {
		r.goesOn(s)
	}
	whole, err = r.scan(s)
	return i + 1, whole, err
}

// goBack makes s what it was at a point.
func (s *segment) goBack(at point) {
	t := at.tail
	t.modified = s.tail.modified
	s.set(t)
	s.synced, s.sinceIndex, s.firstTime, s.timeAdded = 0, at.sinceIndex, at.firstTime, at.timeAdded
	s.idx.onDisk, s.tidx.onDisk = at.index, at.timeIndex
}

// goesOn notes that the segment that the state file vouches for in part has more.
func (r *recovery) goesOn(s *segment) {
	if r.durable(s.base) > 0 {
		r.more = true
	} else {
		r.touched = true
	}
}

// cutIndexes drops the entries that are beyond what is vouched for, durably, also those that a former recovery dropped.
func (r *recovery) cutIndexes(s *segment) error {
	for _, x := range []*index{&s.idx, &s.tidx} {
		info, err := r.l.dir.fs.Stat(x.file.path())
		if errors.Is(err, fs.ErrNotExist) && x.onDisk == 0 {
			continue
		}
		if err != nil {
			return err
		}
		switch {
		case info.Size() != int64(x.onDisk*x.width):
			err = x.cut(x.onDisk)
		case r.again:
			err = r.sync(&x.file)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
