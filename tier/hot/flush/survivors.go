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

// Replay is what a journal holds that is perhaps not in the logs' own files. Close it.
type Replay struct {
	Logs   []*Survivor // by partition
	Frames int         // that counted
	Bytes  int64       // in Logs

	files []disk.File
}

// Survivor is what the journal holds of one log.
type Survivor struct {
	Part    topic.Partition
	Extents []Extent // at least one, all of one segment, each going on where the one before ended or before
}

// Extent is where the bytes of a record are.
type Extent struct {
	Record         // without Bytes
	Length  int    // of the bytes
	Damaged bool   // they are not what was written
	file    int    // index in Replay.files
	at      int64  // position in it
	seq     uint64 // of the frame
}

// found is a frame of which the header was read.
type found struct {
	header
	file int
	at   int64
}

// ReadJournal reads the journal of a log directory. Without files it returns an empty Replay, and of a journal that was
// being removed it deletes the rest and does the same. What a crash leaves of the
// last write is passed over; anything else that is not as it was written is damage: of the log, where it is known of
// which (Extent.Damaged), else ErrJournal.
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
		r.files = append(r.files, f)
		in, err := findFrames(f, i)
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
func findFrames(f disk.File, file int) (frames []found, err error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(1<<20, roundUp(size)))
	var have, n int64 // b holds n bytes from position have
	for at := int64(0); at < size; {
		if at+frameHeader > have+n {
			m, err := f.ReadAt(b, at)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			have, n = at, int64(m)
			if n < frameHeader {
				break
			}
		}
		h, err := parseHeader(b[at-have : n])
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
	bad := false
	err := r.records(f, func(_ *Record, _ int, damaged bool) error {
		bad = bad || damaged
		return nil
	})
	if errors.Is(err, errTorn) {
		return false, nil
	}
	return !bad, err
}

// records reads a frame and parses it.
func (r *Replay) records(f found, fn func(rec *Record, at int, damaged bool) error) error {
	b := make([]byte, f.length)
	n, err := r.files[f.file].ReadAt(b, f.at+frameHeader)
	if n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			err = errTorn
		}
		return err
	}
	return parseRecords(f.header, b, fn)
}

// collect sorts what the frames hold by log.
func (r *Replay) collect(frames []found) error {
	logs := map[topic.Partition]*Survivor{}
	for _, f := range frames {
		err := r.records(f, func(rec *Record, at int, damaged bool) error {
			e := Extent{Record: *rec, Length: len(rec.Bytes), Damaged: damaged, file: f.file, at: f.at + frameHeader + int64(at), seq: f.seq}
			e.Record.Bytes = nil
			s := logs[rec.Part]
			if s == nil {
				s = &Survivor{Part: rec.Part}
				logs[rec.Part] = s
			}
			return s.add(e)
		})
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
		for _, e := range s.Extents {
			r.Bytes += int64(e.Length)
		}
	}
	slices.SortFunc(r.Logs, func(a, b *Survivor) int {
		return cmp.Or(cmp.Compare(a.Part.Topic, b.Part.Topic), cmp.Compare(a.Part.Index, b.Part.Index),
			slices.Compare(a.Part.ID[:], b.Part.ID[:]))
	})
	return nil
}

// add enters what one record says.
func (s *Survivor) add(e Extent) error {
	switch e.Kind {
	case Bytes:
		// A log goes on in another segment only when all of the one before is durable.
		if n := len(s.Extents); n > 0 && s.Extents[n-1].Segment != e.Segment {
			s.Extents = s.Extents[:0]
		}
		s.Extents = append(s.Extents, e)
	case Forget:
		s.Extents = slices.DeleteFunc(s.Extents, func(old Extent) bool { return old.Next <= e.Next })
	case Bound:
		s.Extents = append(s.Extents, e)
	default:
		return fmt.Errorf("kind %d is not known", e.Kind)
	}
	return nil
}

// ReadAt reads the bytes of an extent, of which e.Length is the number.
func (r *Replay) ReadAt(e *Extent, p []byte) error {
	if n, err := r.files[e.file].ReadAt(p[:e.Length], e.at); n < e.Length {
		return fmt.Errorf("%s: %d of %d bytes at %d: %w", r.files[e.file].Name(), n, e.Length, e.at, cmp.Or(err, io.ErrUnexpectedEOF))
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
