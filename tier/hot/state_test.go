package hot

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/hot/epoch"
)

var update = flag.Bool("update", false, "rewrite golden files")

// The golden file of version 1 stays readable for ever.
func TestStateGolden(t *testing.T) {
	want := []*logState{
		{Topic: "orders", Index: 3, ID: testID, Epochs: []epoch.Entry{{Epoch: 0, Start: 0}, {Epoch: 2, Start: 150}},
			Segments: []segState{
				{Base: 100, Next: 200, Size: 5000, MaxTime: 1700, MaxTimeOffset: 180, Modified: 1701, Index: 1, TimeIndex: 2},
				{Base: 200, Next: 200, MaxTime: -1, MaxTimeOffset: 200, Modified: 1702}},
			SinceIndex: 12, FirstTime: -1, TimeAdded: -1, Start: 110},
		{Topic: "a.b", ID: testID, Epochs: []epoch.Entry{}, Segments: []segState{{MaxTime: -1}}, FirstTime: 5, TimeAdded: 6},
	}
	b, err := encodeState(want)
	require.NoError(t, err)
	const name = "testdata/state.v1"
	if *update {
		require.NoError(t, os.WriteFile(name, b, 0o644))
	}
	golden, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(golden), string(b))
	got, err := decodeState(golden)
	require.NoError(t, err)
	require.Equal(t, want, got)
	for i := range golden { // no damage goes unnoticed, and none panics
		bad := append([]byte(nil), golden...)
		bad[i] ^= 1
		_, err := decodeState(bad)
		require.Error(t, err, "byte %d", i)
		_, err = decodeState(golden[:i])
		require.Error(t, err, "cut at %d", i)
	}
}

func FuzzDecodeState(f *testing.F) {
	golden, err := os.ReadFile("testdata/state.v1")
	require.NoError(f, err)
	f.Add(golden)
	f.Fuzz(func(t *testing.T, b []byte) {
		logs, err := decodeState(b)
		if err != nil {
			return
		}
		for _, l := range logs {
			require.NoError(t, l.check())
		}
	})
}
