package partition

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
)

// A default of all topics that changes reaches a log that is open, and nothing of the partition itself.
func TestResettle(t *testing.T) {
	var defaults atomic.Pointer[map[string]string]
	defaults.Store(&map[string]string{})
	e := newEnv(t, func(o *Options) {
		o.Settings = func(t *metadata.Topic) *Settings { return SettingsOf(*defaults.Load(), quiet)(t) }
	})
	e.create("t", 2)
	p := e.partition("t", 1)
	e.produce(p, batch(1, 10, 1))
	before := p.hw.Load()
	defaults.Store(&map[string]string{"max.message.bytes": "500", "segment.ms": "77"})
	require.Equal(t, hot.DefaultConfig().SegmentMs, p.Settings().Log.SegmentMs)
	e.m.Resettle()
	require.Equal(t, int64(77), p.Settings().Log.SegmentMs)
	large := batch(1, 600, 1)
	h, err := record.Check(large)
	require.NoError(t, err)
	_, err = p.Append(large, h, true)
	require.ErrorIs(t, err, hot.ErrRecordTooLarge, "the open log has it, too")
	require.Equal(t, before, p.hw.Load())
	require.Same(t, p.Settings(), e.partition("t", 0).Settings(), "partitions of a topic share what its configs mean")
}

// The reserve of the disk counts from the moment it is changed.
func TestSetTuning(t *testing.T) {
	e := newEnv(t, func(o *Options) {
		o.Tuning.Reserve = 1
		o.Space = func() (SpaceInfo, error) { return SpaceInfo{Total: 10000, Free: 1000}, nil }
	})
	require.True(t, e.m.space.look(0))
	e.m.SetTuning(Tuning{Reserve: 2000})
	require.False(t, e.m.space.look(0))
	e.m.SetTuning(Tuning{Reserve: 10})
	require.True(t, e.m.space.look(0))
}
