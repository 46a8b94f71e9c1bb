package partition

import (
	"io"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A full disk refuses clients and not the broker's own records, and does not flap with the size of each batch.
func TestSpaceAtTheReserve(t *testing.T) {
	const mib = 1 << 20
	free := int64(200 * mib)
	o := Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Space: func() (SpaceInfo, error) { return SpaceInfo{Total: 1000 * mib, Free: free}, nil }}
	var tuning atomic.Pointer[Tuning]
	tuning.Store(&Tuning{Reserve: 100 * mib})
	s := space{o: &o, tuning: &tuning}
	require.True(t, s.take(mib))
	free = 100*mib + 10
	require.True(t, s.look(0))
	require.False(t, s.take(mib))
	require.True(t, s.full.Load())
	require.True(t, s.look(0))
	require.True(t, s.full.Load(), "ten bytes are no room")
	require.True(t, s.takeInternal(mib), "the first half of the reserve is the broker's own")
	free = 50*mib + 10
	require.False(t, s.takeInternal(mib), "the second half is etcd's")
	free = 100*mib + 100*mib/8
	require.True(t, s.look(0))
	require.False(t, s.full.Load())
}

// The cache has room from the start on down to the reserve, and what clients append is taken off it at once.
func TestRoom(t *testing.T) {
	const mib = 1 << 20
	e := newEnv(t, func(o *Options) {
		o.Tuning.Reserve = 100 * mib
		o.Space = func() (SpaceInfo, error) { return SpaceInfo{Total: 1000 * mib, Free: 150 * mib}, nil }
	})
	require.True(t, e.m.Room(50*mib))
	require.False(t, e.m.Room(50*mib+1))
	e.m.space.take(20 * mib)
	require.True(t, e.m.Room(30*mib))
	require.False(t, e.m.Room(30*mib+1))
	e.close()
	e.open()
	require.True(t, e.m.Room(1<<60), "nobody says how full the disk is")
}
