package upload

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/firnlog/firn/tier/disk"
)

// body is a segment under construction, and then the body of its upload. Chunks that are stored raw are not copied: they
// stay where they are in the local log, whose files are held until the upload is over. All else (compressed chunks,
// header, index) is in the spool. Whoever reads a body checks its CRC-32C, so that a log file which changes meanwhile is
// refused like a damaged spool. It is a segment.RawWriter; once it is written, ReadAt may be called concurrently.
type body struct {
	spool  spool
	length int64
	parts  []part // in order, without gaps

	source   []part // what was taken from the local log; at counts its bytes
	taken    int64  // bytes of source
	releases []func()
}

// part is the bytes of a body from at on that lie in one place.
type part struct {
	at, length int64
	region     disk.Region // of the local log
	spooled    bool        // … or in the spool, from position on
	position   int64
}

// take notes what was read from the local log, and holds it.
func (b *body) take(batches Batches) {
	for _, r := range batches.Regions {
		n := r.Length
		if r.File == nil {
			n = int64(len(r.Bytes))
		}
		b.source = appendPart(b.source, part{at: b.taken, length: n, region: r})
		b.taken += n
	}
	if batches.Release != nil {
		b.releases = append(b.releases, batches.Release)
	}
}

// Write implements io.Writer: the bytes go to the spool.
func (b *body) Write(p []byte) (int, error) {
	at := b.spool.length()
	if err := b.spool.append(p); err != nil {
		return 0, err
	}
	b.add(part{length: int64(len(p)), spooled: true, position: at})
	return len(p), nil
}

// WriteRaw implements segment.RawWriter.
func (b *body) WriteRaw(p []byte, from int64) error {
	to := from + int64(len(p))
	for i := find(b.source, from); from < to; i++ {
		if i == len(b.source) {
			return fmt.Errorf("the local log was read up to byte %d, not %d", b.taken, to)
		}
		s := b.source[i]
		skip := from - s.at
		n := min(s.length-skip, to-from)
		if s.region.File == nil {
			s.region.Bytes = s.region.Bytes[skip : skip+n]
		} else {
			s.region.Position += skip
			s.region.Length = n
		}
		b.add(part{length: n, region: s.region})
		from += n
	}
	return nil
}

func (b *body) add(p part) {
	p.at = b.length
	b.parts = appendPart(b.parts, p)
	b.length += p.length
}

// appendPart adds a part that follows the last one, or lengthens that where they are neighbours.
func appendPart(parts []part, p part) []part {
	if n := len(parts); n > 0 {
		last := &parts[n-1]
		switch {
		case last.spooled && p.spooled && last.position+last.length == p.position:
			last.length += p.length
			return parts
		case p.region.File != nil && last.region.File == p.region.File && last.region.Position+last.length == p.region.Position:
			last.length += p.length
			last.region.Length = last.length
			return parts
		}
	}
	return append(parts, p)
}

// find gives the index of the part that holds a byte.
func find(parts []part, at int64) int {
	return sort.Search(len(parts), func(i int) bool { return parts[i].at+parts[i].length > at })
}

// ReadAt implements io.ReaderAt.
func (b *body) ReadAt(p []byte, off int64) (n int, err error) {
	for i := find(b.parts, off); n < len(p); i++ {
		if i == len(b.parts) {
			return n, io.EOF
		}
		skip := off + int64(n) - b.parts[i].at
		piece := p[n:min(int64(len(p)), int64(n)+b.parts[i].length-skip)]
		m, err := b.readPart(&b.parts[i], piece, skip)
		if n += m; m < len(piece) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	return n, nil
}

func (b *body) readPart(p *part, piece []byte, skip int64) (int, error) {
	switch {
	case p.spooled:
		return b.spool.ReadAt(piece, p.position+skip)
	case p.region.File == nil:
		return copy(piece, p.region.Bytes[skip:]), nil
	}
	return p.region.File.ReadAt(piece, p.region.Position+skip)
}

// discard lets go of everything. The body is not used any more.
func (b *body) discard() {
	b.spool.discard()
	for _, release := range b.releases {
		release()
	}
	b.parts, b.source, b.releases = nil, nil, nil
}

// spoolBytes are gathered in memory before they are written: a segment without compressed chunks has no file at all.
const spoolBytes = 1 << 20

// spool keeps what only the segment has: its beginning in an unlinked file, which leaves nothing behind whatever
// happens, and the rest in memory.
type spool struct {
	open   func() (disk.File, error) // nil: the disk is full, and all stays in memory
	f      disk.File                 // nil until something is written
	inFile int64
	rest   []byte
}

func (s *spool) length() int64 { return s.inFile + int64(len(s.rest)) }

func (s *spool) append(p []byte) (err error) {
	if s.open != nil && len(s.rest)+len(p) > spoolBytes {
		if s.f == nil {
			if s.f, err = s.open(); err != nil {
				return err
			}
		}
		for _, b := range [][]byte{s.rest, p} {
			n, err := s.f.WriteAt(b, s.inFile)
			s.inFile += int64(n)
			if err != nil {
				return fmt.Errorf("spool: %w", err)
			}
		}
		s.rest = s.rest[:0]
		return nil
	}
	if s.rest == nil {
		s.rest = make([]byte, 0, min(spoolBytes, max(4<<10, 2*len(p))))
	}
	s.rest = append(slices.Grow(s.rest, len(p)), p...)
	return nil
}

// ReadAt implements io.ReaderAt.
func (s *spool) ReadAt(p []byte, off int64) (n int, err error) {
	if off < s.inFile {
		n, err = s.f.ReadAt(p[:min(int64(len(p)), s.inFile-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		off += int64(n)
	}
	if off >= s.inFile {
		n += copy(p[n:], s.rest[min(off-s.inFile, int64(len(s.rest))):])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *spool) discard() {
	if s.f != nil {
		_ = s.f.Close()
	}
	*s = spool{}
}

var spoolNumber atomic.Int64

func (m *Manager) newSpoolFile() (disk.File, error) {
	name := filepath.Join(m.o.SpoolDir, fmt.Sprintf("segment-%d", spoolNumber.Add(1)))
	f, err := disk.CreateUnlinked(m.o.FS, name)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return f, nil
}
