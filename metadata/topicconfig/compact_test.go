package topicconfig

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompactionValues(t *testing.T) {
	v, err := Resolve(map[string]string{CleanupPolicy: "compact"}, nil)
	require.NoError(t, err)
	require.Equal(t, 0.5, v.MinCleanableDirtyRatio)
	require.Equal(t, int64(0), v.MinCompactionLagMs)
	require.Equal(t, int64(math.MaxInt64), v.MaxCompactionLagMs)
	require.Equal(t, int64(86400000), v.DeleteRetentionMs)
	require.Equal(t, int64(604800000), v.SegmentMs)

	set := map[string]string{CleanupPolicy: "compact,delete", MinCleanableDirtyRatio: "0.1", MinCompactionLagMs: "5",
		MaxCompactionLagMs: "1000", DeleteRetentionMs: "7"}
	v, err = Resolve(set, nil)
	require.NoError(t, err)
	require.Equal(t, []any{0.1, int64(5), int64(1000), int64(7)},
		[]any{v.MinCleanableDirtyRatio, v.MinCompactionLagMs, v.MaxCompactionLagMs, v.DeleteRetentionMs})
	require.Equal(t, int64(1000), v.SegmentMs, "the active segment is closed in time to be cleaned")

	set[CleanupPolicy] = "delete"
	v, err = Resolve(set, nil)
	require.NoError(t, err)
	require.Equal(t, int64(604800000), v.SegmentMs)
	for _, name := range []string{MinCleanableDirtyRatio, MinCompactionLagMs, MaxCompactionLagMs, DeleteRetentionMs} {
		d, ok := Lookup(name)
		require.True(t, ok)
		require.False(t, d.NoEffect, name)
	}
}
