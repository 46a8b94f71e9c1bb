package flush

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// TestSmallRecords (I-32): what a start needs to know of a journal's records takes a fraction of what they do, however many
// small ones there are.
func TestSmallRecords(t *testing.T) {
	const records, logs = 200_000, 10
	name := filepath.Join(t.TempDir(), filePrefix+"0")
	require.NoError(t, os.WriteFile(name, smallRecords(records, logs), 0o600))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r, err := ReadJournal(disk.OS(), filepath.Dir(name))
	require.NoError(t, err)
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Len(t, r.Logs, logs)
	require.EqualValues(t, records*100, r.Bytes)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	require.Less(t, float64(grown)/records, 64.0, "bytes a record")
	require.Less(t, float64(after.Mallocs-before.Mallocs)/records, 0.1, "allocations a record")
	require.NoError(t, r.Close())
}

// smallRecords is a file of a journal with records of 100 bytes of a few logs.
func smallRecords(records, logs int) []byte {
	k, b := newKeeper(), make([]byte, 100)
	for i := range records {
		n := int64(i / logs)
		k.add(&Record{Kind: Bytes, Part: topic.Partition{Topic: "a topic with a name", Index: int32(i % logs)},
			Position: n * int64(len(b)), Base: n, Next: n + 1}, b)
	}
	return k.done()
}
