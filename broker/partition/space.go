package partition

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// SpaceInfo says how full the disk below the log directory is, in bytes.
type SpaceInfo struct {
	Total int64
	Free  int64 // for this process
}

// StatSpace gives Options.Space for the file system that path is on.
func StatSpace(path string) func() (SpaceInfo, error) {
	return func() (SpaceInfo, error) {
		var s unix.Statfs_t
		if err := unix.Statfs(path, &s); err != nil {
			return SpaceInfo{}, fmt.Errorf("statfs %s: %w", path, err)
		}
		return SpaceInfo{Total: int64(s.Blocks) * s.Bsize, Free: int64(s.Bavail) * s.Bsize}, nil
	}
}

// reserveOf is the default of firn.local.disk.reserve: the larger of 512 MiB and 2% of the disk, at most a quarter.
func reserveOf(total int64) int64 { return min(max(512<<20, total/50), total/4) }

// roomAgain is how much must be free above the reserve, at most, until a disk that was full does not count as full.
const roomAgain = 64 << 20

// space guards the disk's reserve: produce stops before the disk is full, so that others on the same disk, an etcd in
// the same process above all, do not meet ENOSPC. Appends take from what was free at the last look; only when
// that is used up is the disk asked again, so that a busy broker asks seldom and a full one with each append.
type space struct {
	o      *Options
	tuning *atomic.Pointer[Tuning]
	room   atomic.Int64 // bytes above the reserve, by the last look and what was taken since
	full   atomic.Bool
}

// take reserves n bytes for an append; false when they would go into the reserve.
func (s *space) take(n int) bool {
	if s.o.Space == nil || s.room.Add(-int64(n)) >= 0 {
		return true
	}
	return s.look(int64(n))
}

// takeInternal is take for what the broker itself writes: it may go into the first half of the reserve, so that consumer
// groups go on while produce is refused.
func (s *space) takeInternal(n int) bool {
	if s.o.Space == nil || s.room.Add(-int64(n)) >= 0 {
		return true
	}
	s.room.Add(int64(n))
	info, err := s.o.Space()
	return err != nil || info.Free-s.reserve(info)/2-int64(n) >= 0
}

func (s *space) reserve(info SpaceInfo) int64 {
	if r := s.tuning.Load().Reserve; r != 0 {
		return r
	}
	return reserveOf(info.Total)
}

// look asks the disk. The disk counts as full from the first refusal until there is room for more than a few batches, so
// that the state does not change with the size of each.
func (s *space) look(n int64) bool {
	info, err := s.o.Space()
	if err != nil {
		s.o.Logger.Error("cannot find out how full the disk is", "error", err)
		return true // the write itself will tell
	}
	reserve := s.reserve(info)
	room := info.Free - reserve - n
	s.room.Store(room)
	switch {
	case room < 0 && !s.full.Swap(true):
		s.o.Logger.Warn("the disk is at its reserve: produce is refused until space is free", "free", info.Free, "reserve", reserve)
	case room >= min(reserve/8, roomAgain) && s.full.Swap(false):
		s.o.Logger.Info("the disk has room again: produce is accepted", "free", info.Free, "reserve", reserve)
	}
	return room >= 0
}

// Room reports whether the disk may take n more bytes without going into its reserve, by the last look: for the chunk
// cache (cold.Options.Room), which must leave the reserve alone as well.
func (m *Manager) Room(n int64) bool {
	return m.o.Space == nil || m.space.room.Load() >= n
}
