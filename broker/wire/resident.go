package wire

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/nowait"
)

// Whether records are in the page cache is asked with preadv2(RWF_NOWAIT), which gives EAGAIN where a read would wait for the
// disk; asking has Linux begin to read. What is copied is read that way. Of what sendfile is to send the pages are counted
// with cachestat(2), and single bytes are read, because a page that counts may still be being read. Where there is no
// cachestat (before Linux 6.5, or a filter of system calls), as many bytes are as make a hole improbable. Where a file system
// does not know the flag, what counts is taken to be there. Where neither can be asked, nothing is: it is waited for like
// the rest, by who may and a few at once.

const (
	probeStep = 512 << 10 // one byte of as many is asked for
	ahead     = 4 << 20   // bytes that are read ahead of a client that reads what is not in the page cache
)

var pageSize = int64(os.Getpagesize())

// System calls that ask, and one that waits; tests replace them.
var (
	preadNow  = nowait.Pread
	cachestat = nowait.Cachestat
	pread     = unix.Pread
)

// Waits bounds how many answers of all connections wait for the disk at once: each holds a thread while it does. A nil one
// does not.
type Waits struct{ places chan struct{} }

// NewWaits lets n wait at once.
func NewWaits(n int) *Waits { return &Waits{make(chan struct{}, n)} }

func (w *Waits) take() {
	if w != nil {
		w.places <- struct{}{}
	}
}

func (w *Waits) give() {
	if w != nil {
		<-w.places
	}
}

// read fills p from byte off of a region on, waiting for the disk if the answer may.
func (s *Sender) read(g *disk.Region, p []byte, off int64) error {
	if s.readNow(g.File, p, g.Position+off) {
		return nil
	}
	if s.may != ForDisk {
		return disk.ErrWait
	}
	s.Waits.take()
	defer s.Waits.give()
	return readRegion(g, p, off)
}

// readNow reports whether it filled p without waiting for the disk.
func (s *Sender) readNow(f disk.File, p []byte, pos int64) bool {
	of := f.OS()
	if of == nil {
		n, _ := f.ReadNow(p, pos)
		return n == len(p)
	}
	fd := int(of.Fd())
	n, err := preadNow(fd, p, pos)
	if err != nil && disk.Unsupported(err) && s.counted(fd, pos, int64(len(p))) && !s.uncounted {
		n, _ = f.ReadAt(p, pos)
	}
	return n == len(p)
}

// there reports whether a part of a file is in the page cache, as far as that can be told, and notes when all of it was seen
// there.
func (s *Sender) there(fd int, pos, n int64) bool {
	s.seen = time.Time{}
	if !s.uncounted && !s.counted(fd, pos, n) {
		return false
	}
	step := n // the last byte is read last
	if s.uncounted {
		step = probeStep
	}
	for left := n; left > 0; left -= step {
		_, err := preadNow(fd, s.byte[:], pos+left-1) // where the file ends before, there is nothing to wait for
		if err != nil {
			return disk.Unsupported(err) && !s.uncounted
		}
	}
	if !s.uncounted {
		s.seen = time.Now()
	}
	return true
}

// counted reports whether all pages of a part of a file are in the page cache, or cannot be counted.
func (s *Sender) counted(fd int, pos, n int64) bool {
	s.part = unix.CachestatRange{Off: uint64(pos), Len: uint64(n)}
	if cachestat(fd, &s.part, &s.pages) != nil {
		s.uncounted = true
		return true
	}
	return int64(s.pages.Cache) >= (pos+n-1)/pageSize-pos/pageSize+1
}

// fetch waits until a part of a file is in the page cache, and has what follows read ahead. A failure is for who sends it to
// find.
func (s *Sender) fetch(fd int, pos, n int64) {
	s.Waits.take()
	defer s.Waits.give()
	_ = unix.Fadvise(fd, pos, n+ahead, unix.FADV_WILLNEED)
	for at := pos; at < pos+n; at += probeStep {
		_, _ = pread(fd, s.byte[:], at)
	}
	_, _ = pread(fd, s.byte[:], pos+n-1)
}

// lookAhead has the next bytes of a file read for a client that has just been sent what lies before, if they are missing. It
// asks once in each half of what it would have read.
func (s *Sender) lookAhead(fd int, pos, end int64) {
	if pos/(ahead/2) == end/(ahead/2) {
		return
	}
	if _, err := preadNow(fd, s.byte[:], end+ahead/2); errors.Is(err, unix.EAGAIN) {
		_ = unix.Fadvise(fd, end, ahead, unix.FADV_WILLNEED)
	}
}
