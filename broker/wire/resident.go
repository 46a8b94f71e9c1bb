package wire

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
)

// Whether records are in the page cache is asked with cachestat(2), which counts pages, and with preadv2(RWF_NOWAIT), which
// gives EAGAIN where a read would wait for the disk; asking has Linux begin to read. The first does not tell whether a page
// that is there is still being read, the second is asked for single bytes only. Where there is no cachestat (before Linux
// 6.5, or a filter of system calls), as many are as make a hole improbable. A kernel or a file system that does not know
// the flag is taken at its word that nothing is missing: sending then waits where it must, as without the question.

const (
	probeStep = 512 << 10 // one byte of as many is asked for
	maxProbes = 64        // for one answer; what is beyond is taken to be there
	ahead     = 4 << 20   // bytes that are read ahead of a client that reads what is not in the page cache
)

var pageSize = int64(os.Getpagesize())

// Waits bounds how many answers of all connections wait for the disk at once: each holds a thread while it does.
type Waits struct{ places chan struct{} }

// NewWaits lets n wait at once.
func NewWaits(n int) *Waits { return &Waits{make(chan struct{}, n)} }

// Resident reports whether an answer can, as far as can be told, be sent without waiting for the disk. Where all of it was
// asked for, a Send that follows does not ask again.
func (s *Sender) Resident(r *Response) bool {
	s.asked = false
	probes := 0
	for i := range r.parts {
		g := &r.parts[i].region
		fd, ok := s.file(g)
		if !ok {
			continue
		}
		if probes < maxProbes && !s.there(fd, g.Position, g.Length, &probes) {
			return false
		}
	}
	s.asked = probes < maxProbes
	return true
}

// file is the descriptor that a region is read from; false if it lies in memory.
func (s *Sender) file(g *disk.Region) (fd int, ok bool) {
	if g.File == nil || g.Length <= 0 {
		return 0, false
	}
	f := g.File.OS()
	if f == nil {
		return 0, false
	}
	return int(f.Fd()), true
}

// there reports whether a part of a file is in the page cache, as far as maxProbes system calls tell, which it adds to
// probes.
func (s *Sender) there(fd int, pos, n int64, probes *int) bool {
	if !s.uncounted {
		*probes++
		if !s.counted(fd, pos, n) {
			return false
		}
	}
	step := n // the last byte is read last
	if s.uncounted {
		step = probeStep
	}
	for left := n; left > 0 && *probes < maxProbes; left -= step {
		*probes++
		if !s.byteThere(fd, pos+left-1) {
			return false
		}
	}
	return true
}

// counted reports whether all pages of a part of a file are in the page cache, or cannot be counted.
func (s *Sender) counted(fd int, pos, n int64) bool {
	s.part = unix.CachestatRange{Off: uint64(pos), Len: uint64(n)}
	if unix.Cachestat(uint(fd), &s.part, &s.pages, 0) != nil {
		s.uncounted = true
		return true
	}
	return int64(s.pages.Cache) >= (pos+n-1)/pageSize-pos/pageSize+1
}

// byteThere reports whether the byte at a position is in the page cache, or none is there.
func (s *Sender) byteThere(fd int, pos int64) bool {
	s.probe[0] = s.byte[:]
	for {
		_, err := unix.Preadv2(fd, s.probe[:], pos, unix.RWF_NOWAIT)
		if err != unix.EINTR {
			return err != unix.EAGAIN
		}
	}
}

// errWaits says that a read would have to wait for the disk, or cannot be tried.
var errWaits = errors.New("not in the page cache")

// readNow fills p with what a region begins with, if that needs no waiting.
func (s *Sender) readNow(g *disk.Region, p []byte) error {
	fd, ok := s.file(g)
	if !ok {
		return errWaits
	}
	s.probe[0] = p
	n, err := unix.Preadv2(fd, s.probe[:], g.Position, unix.RWF_NOWAIT)
	s.probe[0] = nil
	if err != nil || n != len(p) {
		return errWaits
	}
	return nil
}

// fetch waits until a part of a file is in the page cache, a few at once, and has what follows read ahead. A failure is
// for who sends it to find.
func (s *Sender) fetch(fd int, pos, n int64) {
	if s.there(fd, pos, n, new(int)) {
		return
	}
	if s.Waits != nil {
		s.Waits.places <- struct{}{}
		defer func() { <-s.Waits.places }()
	}
	_ = unix.Fadvise(fd, pos, n+ahead, unix.FADV_WILLNEED)
	for at := pos; at < pos+n; at += probeStep {
		_, _ = unix.Pread(fd, s.byte[:], at)
	}
	_, _ = unix.Pread(fd, s.byte[:], pos+n-1)
}

// lookAhead has the next bytes of a file read for a client that has just been sent what lies before, if they are missing. It
// asks once in each half of what it would have read.
func (s *Sender) lookAhead(fd int, pos, end int64) {
	if pos/(ahead/2) != end/(ahead/2) && !s.byteThere(fd, end+ahead/2) {
		_ = unix.Fadvise(fd, end, ahead, unix.FADV_WILLNEED)
	}
}
