package hot

// What a start finds out about a log that is not opened in the life of its process has to be known to the next, also if the
// process stopped cleanly: the log's line in the state file, which is written as it stands for a log that is not open, takes it
// along. The line of a log that was opened does without.

// boundState is, in the state file, up to where the flush journal said that a segment is whole.
type boundState struct {
	Base int64 `json:"base"`
	Size int64 `json:"size"`
}

// unseen is the line of a log for those that come after this process, which has not opened it. After a clean stop of the machine
// the log is as it was closed, but its indexes may not be, for they are not synced: the next process would not know that it has
// to look.
func (st *logState) unseen(rebooted bool) *logState {
	if st.Unchecked || !rebooted {
		return st
	}
	next := *st // this one is for who opens it now
	next.Unchecked = true
	return &next
}

// noteUnopened notes in the lines of the logs that none of them is as a clean stop leaves it, if it was not one, and up to
// where the journal said that they are whole. For a log without a line, one is made that vouches for nothing. Of what the
// journal said to a former start, the lines tell.
func (d *Dir) noteUnopened() {
	for name, st := range d.unopened {
		st.Unchecked = st.Unchecked || d.stop != StopClean
		if _, ok := d.vouched[name]; !ok && st.Journal != nil {
			d.vouched[name] = place{st.Journal.Base, st.Journal.Size}
		}
	}
	for name, v := range d.vouched {
		p, ok := d.onDisk[name]
		if !ok {
			continue
		}
		st := d.unopened[name]
		if st == nil {
			at := beginning(v.base)
			st = &logState{Topic: p.Topic, Index: p.Index, ID: p.ID, FirstTime: at.firstTime, TimeAdded: at.timeAdded, Unchecked: true,
				Segments: []segState{{Base: v.base, Next: v.base, MaxTime: at.tail.maxTime, MaxTimeOffset: at.tail.maxTimeOffset}}}
			d.unopened[name] = st
		}
		st.Journal = &boundState{v.base, v.size}
	}
}
