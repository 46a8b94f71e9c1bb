package hot

import (
	"slices"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/flush"
)

// tellRemoval: a start replays a journal of two files and removes it; the power goes at each moment of that in turn.
func tellRemoval(w *world) {
	if !w.journal {
		return
	}
	l := w.open(0)
	var want []byte
	var mem *disk.Crashable
	for frames := -1; ; { // the frames that count grow fewer when a file is let go of: before, they are in two
		before, had := w.mem.Crash(), slices.Clone(want)
		want = append(want, w.put(l, 1)...)
		check(len(want) < 20_000, "no file of the journal is full")
		r, err := flush.ReadJournal(w.mem.Crash(), "/data/log")
		must(err)
		must(r.Close())
		if r.Frames < frames {
			mem, want = before, had
			break
		}
		frames = r.Frames
	}
	w.d.flusher.Close()
	w.mem = mem
	w.boot++
	at := w.cutWhileStarting()
	for _, mem := range at {
		w.mem = mem
		w.boot++
		w.start()
		holds(w.open(0), want)
		w.d.flusher.Close()
	}
}
