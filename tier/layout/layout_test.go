package layout

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/topic"
)

var l = Layout{ClusterID: "c", Generation: "g"}

// I-07: a key is never handed out twice.
func TestKeysAreUniqueAndReadBack(t *testing.T) {
	id := topic.NewID()
	seen := map[string]bool{}
	for range 1000 {
		for _, k := range []string{l.SegmentKey(id, 3, 42, 7), l.FoldKey(id, 3, 42, 9), l.MarkerKey(5, 6), l.DistrustKey(), l.ProbeKey()} {
			require.False(t, seen[k])
			seen[k] = true
			require.NoError(t, object.CheckKey(k))
		}
	}
	n, ok := ParseName(l.SegmentKey(id, 3, 42, 7))
	require.True(t, ok)
	require.Equal(t, Name{Base: 42, Epoch: 7}, n)
	n, ok = ParseName(l.FoldKey(id, 3, 42, 9))
	require.True(t, ok)
	require.Equal(t, Name{Fold: true, Base: 42, Version: 9}, n)
	require.True(t, strings.HasPrefix(l.SegmentKey(id, 3, 42, 7), l.PartitionPrefix(id, 3)))
	require.NotEqual(t, l.PartitionPrefix(id, 3), l.PartitionPrefix(id, 30))
	require.Less(t, l.SegmentKey(id, 3, 99, 7), l.SegmentKey(id, 3, 100, 7))
}

func TestParseNameRefuses(t *testing.T) {
	for _, k := range []string{"", "x", "c/owner", "a/b/1-2-3", l.MarkerKey(1, 2)[:60], "fold-" + strings.Repeat("0", 19),
		strings.Repeat("9", 19) + "-9999999999-" + strings.Repeat("0", 32), strings.Repeat("9", 19) + "--1-" + strings.Repeat("0", 32)} {
		_, ok := ParseName(k)
		require.False(t, ok, k)
	}
	require.Error(t, Layout{ClusterID: "a/b", Generation: "g"}.Check())
	require.Error(t, Layout{ClusterID: "a"}.Check())
}
