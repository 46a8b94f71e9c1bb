package flush

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// ErrJournal means that a journal is damaged in a way that no crash leaves and that makes it unknown what was in it.
var ErrJournal = errors.New("the flush journal is damaged")

// ErrDamaged means that the bytes of an Extent are not what was written, or, of a Bound, that they had not been.
var ErrDamaged = errors.New("a record of the flush journal is damaged")

// Replay is what a journal holds that is perhaps not in the logs' own files. Close it.
type Replay struct {
	Logs   []*Survivor // by partition
	Frames int         // that counted
	Bytes  int64       // in Logs

	files  []replayFile
	frames []replayFrame
}

// replayFrame is where the records of a frame begin.
type replayFrame struct {
	file int32 // index in Replay.files
	seed uint32
	at   int64 // position in it
}

// replayFile is one of the files that are read, which nobody writes to.
type replayFile struct {
	disk.File
	size int64
}

// Survivor is what the journal holds of one log.
type Survivor struct {
	Part    topic.Partition
	Segment int64    // base offset of the segment that all of it is of
	Extents []Extent // at least one, each going on where the one before ended or before
}

// Extent is where the bytes of a record are. A journal of small records has more than a million of them, all in memory at
// once (I-32): what they have in common stands in the Survivor and in the frame.
type Extent struct {
	Position int64 // in the segment; see Record for these three
	base     int64
	next     int64
	Length   int32  // of the bytes
	at       int32  // position in the frame's records
	frame    int32  // index in Replay.frames
	epoch    int32  // see Record
	sum      uint32 // of the bytes
	Kind     Kind
}

// record is what the journal has of it, without the bytes.
func (s *Survivor) record(e *Extent) Record {
	return Record{Kind: e.Kind, Part: s.Part, Epoch: e.epoch, Segment: s.Segment, Position: e.Position, Base: e.base, Next: e.next}
}

// found is a frame of which the header was read.
type found struct {
	header
	file int
	at   int64
}

// Reading takes three passes, of which the first two, ReadJournal's, read heads alone: those of the frames, to find the
// ones that count, and those of the records in these. Only of the last frame it takes all, to know whether it is torn. The
// third is the caller's, with ReadAt, which checks the bytes of what is left of the records. So of all that is in the
// files no record's bytes are read twice, and none that a later record made void.
const (
	frameWindow  = frameHeader
	recordWindow = 128 // a record's head, with most names
)

// ReadJournal reads the journal of a log directory. Without files it returns an empty Replay, and of a journal that was
// being removed it deletes the rest and does the same. What a crash leaves of the last write is passed over; anything else
// that is not as it was written is damage: of the log, where it is known of which (ErrDamaged, from ReadAt), else
// ErrJournal.
func ReadJournal(fsys disk.FS, dir string) (*Replay, error) {
	r := &Replay{}
	if err := r.read(fsys, dir); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Replay) read(fsys disk.FS, dir string) error {
	names, err := journalFiles(fsys, dir)
	if err != nil {
		return err
	}
	return r.readFiles(fsys, names)
}

func (r *Replay) readFiles(fsys disk.FS, names []string) error {
	var frames []found
	for i, name := range names {
		f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		r.files = append(r.files, replayFile{File: f})
		size, err := f.Size()
		if err != nil {
			return err
		}
		r.files[i].size = size
		disk.Prefetch(f, 0, size) // a pass over the heads alone would have them fetched one by one
		in, err := findFrames(r.files[i], i)
		if err != nil {
			return err
		}
		if len(in) > 0 && len(frames) > 0 && in[0].life != frames[0].life {
			return fmt.Errorf("%w: its files were written by different processes", ErrJournal)
		}
		frames = append(frames, in...)
	}
	frames = slices.DeleteFunc(frames, func(f found) bool { return f.seq == 0 }) // heads
	slices.SortFunc(frames, func(a, b found) int { return cmp.Compare(a.seq, b.seq) })
	frames, err := r.chain(frames)
	if err != nil {
		return err
	}
	r.Frames = len(frames)
	return r.collect(frames)
}

// findFrames reads the headers of all frames in a file, those that an earlier use left behind and its head included. What
// is of another life than what stands first in the file was written by a client, and is passed over.
func findFrames(f replayFile, file int) (frames []found, err error) {
	w := newWindow(f, frameWindow)
	for at := int64(0); at+frameHeader <= f.size; {
		b, err := w.at(at, frameHeader)
		if err != nil {
			return nil, err
		}
		h, err := parseHeader(b)
		switch {
		case err != nil || len(frames) > 0 && h.life != frames[0].life:
			at += block
		case len(frames) == 0 && at > 0: // a power cut leaves nothing behind a head that is not durable
			return nil, fmt.Errorf("%w: %s does not begin as it was written; something other than firn or a crash changed it", ErrJournal, f.Name())
		default:
			frames = append(frames, found{h, file, at})
			at += roundUp(frameHeader + int64(h.length))
		}
	}
	return frames, nil
}

// chain returns the frames that count, of all that were found and are in order.
func (r *Replay) chain(frames []found) ([]found, error) {
	if len(frames) == 0 {
		return nil, nil
	}
	last := frames[len(frames)-1]
	whole, err := r.whole(last)
	if err != nil {
		return nil, err
	}
	if !whole { // the write that a crash interrupted: nobody was told of it
		if frames = frames[:len(frames)-1]; len(frames) == 0 {
			if last.floor < last.seq {
				return nil, r.gap(last.floor, last)
			}
			return nil, nil
		}
		torn := last
		if last = frames[len(frames)-1]; last.seq+1 != torn.seq {
			return nil, r.gap(last.seq+1, torn)
		}
	}
	n, _ := slices.BinarySearchFunc(frames, last.floor, func(f found, seq uint64) int { return cmp.Compare(f.seq, seq) })
	frames = frames[n:]
	for i, f := range frames {
		if want := last.floor + uint64(i); f.seq != want {
			return nil, r.gap(want, f)
		}
	}
	return frames, nil
}

// gap says that a frame is missing that something which was written later follows.
func (r *Replay) gap(seq uint64, next found) error {
	return fmt.Errorf("%w: write %d is not to be found, and write %d follows in %s at byte %d; something other than firn or a crash changed it",
		ErrJournal, seq, next.seq, r.files[next.file].Name(), next.at)
}

// whole reports whether a frame is as it was written.
func (r *Replay) whole(f found) (bool, error) {
	b := make([]byte, f.length)
	n, err := r.files[f.file].ReadAt(b, f.at+frameHeader)
	if n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return false, nil
		}
		return false, err
	}
	bad := false
	err = parseRecords(f.header, b, func(_ *Record, _ int, damaged bool) error {
		bad = bad || damaged
		return nil
	})
	return err == nil && !bad, nil
}

// records reads the heads of a frame's records, as walkRecords does. w is of the frame's file.
func (r *Replay) records(f found, w *window, known names, fn func(rec *Record, at, n int, sum uint32) error) error {
	if f.at+frameHeader+int64(f.length) > r.files[f.file].size {
		return errTorn
	}
	get := func(at, n int) ([]byte, error) {
		b, err := w.at(f.at+frameHeader+int64(at), n)
		if err == nil && len(b) < n {
			err = errTorn
		}
		return b, err
	}
	return walkRecords(f.header, get, known, fn)
}

// collect sorts what the frames hold by log.
func (r *Replay) collect(frames []found) error {
	logs := map[topic.Partition]*Survivor{}
	add := func(rec *Record, at, n int, sum uint32) error {
		s := logs[rec.Part]
		if s == nil {
			s = &Survivor{Part: rec.Part}
			logs[rec.Part] = s
		}
		return s.add(rec.Segment, Extent{Position: rec.Position, base: rec.Base, next: rec.Next, Length: int32(n),
			at: int32(at), frame: int32(len(r.frames) - 1), epoch: rec.Epoch, sum: sum, Kind: rec.Kind})
	}
	known := names{}
	r.frames = make([]replayFrame, 0, len(frames))
	var w *window
	for i, f := range frames {
		if i == 0 || f.file != frames[i-1].file {
			w = newWindow(r.files[f.file], recordWindow)
		}
		r.frames = append(r.frames, replayFrame{file: int32(f.file), seed: f.seed(), at: f.at + frameHeader})
		err := r.records(f, w, known, add)
		if err != nil {
			return fmt.Errorf("%w: write %d in %s at byte %d: %w; something other than firn or a crash changed it",
				ErrJournal, f.seq, r.files[f.file].Name(), f.at, err)
		}
	}
	for _, s := range logs {
		if len(s.Extents) == 0 {
			continue
		}
		r.Logs = append(r.Logs, s)
		for i := range s.Extents {
			r.Bytes += int64(s.Extents[i].Length)
		}
	}
	slices.SortFunc(r.Logs, func(a, b *Survivor) int {
		return cmp.Or(cmp.Compare(a.Part.Topic, b.Part.Topic), cmp.Compare(a.Part.Index, b.Part.Index),
			slices.Compare(a.Part.ID[:], b.Part.ID[:]))
	})
	return nil
}

// add enters what one record of a segment says.
func (s *Survivor) add(segment int64, e Extent) error {
	switch e.Kind {
	case Bytes, Bound:
		// A log goes on in another segment only when all of the one before is durable.
		if s.Segment != segment {
			s.Segment, s.Extents = segment, s.Extents[:0]
		}
		s.Extents = append(s.Extents, e)
	case Forget:
		s.Extents = slices.DeleteFunc(s.Extents, func(old Extent) bool { return old.next <= e.next })
	default:
		return fmt.Errorf("kind %d is not known", e.Kind)
	}
	return nil
}

// ReadAt reads the bytes of an extent, of which e.Length is the number; ErrDamaged if they are not what was written.
func (r *Replay) ReadAt(e *Extent, p []byte) error {
	if e.Kind != Bytes {
		return ErrDamaged
	}
	in := r.frames[e.frame]
	f, at, p := r.files[in.file], in.at+int64(e.at), p[:e.Length]
	if n, err := f.ReadAt(p, at); n < len(p) {
		return fmt.Errorf("%s: %d of %d bytes at %d: %w", f.Name(), n, len(p), at, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	if checksum(in.seed, p) != e.sum {
		return fmt.Errorf("%s: %d bytes at %d: %w", f.Name(), len(p), at, ErrDamaged)
	}
	return nil
}

// Close closes the files.
func (r *Replay) Close() error {
	var err error
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	r.files = nil
	return err
}
