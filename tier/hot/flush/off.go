package flush

import "errors"

// A journal is given up when the disk turns out not to be made for it: no synced write is to be had (old kernels, sandboxes
// and seccomp filters know none), or one found no room though its file was filled, as on file systems that copy on write.
// It takes nothing more until the next start. What the failed write left is the end of the journal, torn or not; nobody was
// told of it. The upkeep then syncs all logs that the journal names and removes it; until it is gone, Forget waits.

// errOff is what put returns of a journal that is given up: logs are to be synced themselves.
var errOff = errors.New("the flush journal is given up")

// giveUp ends the journal; the caller holds mu.
func (j *Journal) giveUp(err error) {
	j.off = true
	j.o.Logger.Warn("the disk does not take the writes of the flush journal: from here on there is none, and logs are flushed themselves", "error", err)
	j.wake()
}

// abandon removes a journal that is given up.
func (j *Journal) abandon() (did bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.off || j.removed || j.err != nil {
		return false, nil
	}
	files := j.counting()
	var behind []Log
	for _, f := range files {
		behind = append(behind, j.behind(f)...)
	}
	files = append(files, j.free...)
	j.mu.Unlock() // it is the upkeep's alone by now
	err = j.settle(behind)
	if err == nil {
		_, err = RemoveJournal(j.o.FS, j.o.Dir)
	}
	j.mu.Lock()
	if err != nil {
		return false, err
	}
	j.removed = true
	j.full, j.free, j.cur, j.gone = nil, nil, nil, nil
	for _, f := range files {
		_ = f.f.Close() // nothing in it counts
	}
	j.stats.Files.Store(0)
	return true, nil
}
