package record

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden holds got against testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// dumpLog is a log with one of everything, ending in a torn batch.
func dumpLog() []byte {
	at := func(base int64, b []byte) []byte {
		Stamp(b, base, 2)
		return b
	}
	logged := at(8, NewBuilder(Snappy).Append(5, nil, []byte("by the broker's clock"), nil).Build(0))
	StampLogAppendTime(logged, 1_700_000_000_000)
	corrupted := at(9, NewBuilder(None).Append(5, nil, []byte("damaged"), nil).Build(0))
	corrupted[len(corrupted)-2] ^= 1
	lying := at(10, body(Zstd, 2, 1, slices.Concat(rec(0, nil), rec(0, nil))))
	return slices.Concat(
		at(0, NewBuilder(None).Append(1_600_000_000_000, []byte("key"), []byte("value"),
			[]RecordHeader{{"one", nil}, {"two", []byte("x")}}).Append(1_600_000_000_001, []byte("gone"), nil, nil).Build(0)),
		at(2, NewBuilder(Gzip).Producer(1000, 1, 7).Transactional().Append(1, nil, []byte("\x1b[31mterminal\x00"), nil).
			Append(2, nil, []byte("b"), nil).Build(0)),
		at(4, EndTxnMarker(0, 3, 1000, 1, ControlAbort, 6)),
		at(5, NewBuilder(LZ4).AppendAt(1, 4, []byte("thinned"), nil, nil).LastOffsetDelta(2).Build(0)),
		logged, corrupted, lying,
		at(12, sample(None, 1))[:70],
	)
}

func TestDump(t *testing.T) {
	// The log is a file, so that the outcome does not depend on how today's codecs compress.
	path := filepath.Join("testdata", "dump.log")
	if *update {
		require.NoError(t, os.WriteFile(path, dumpLog(), 0o644))
	}
	log, err := os.ReadFile(path)
	require.NoError(t, err)
	var plain, deep, file bytes.Buffer
	require.NoError(t, Dump(&plain, log, 4096, false))
	golden(t, "dump.txt", plain.Bytes())
	require.NoError(t, Dump(&deep, log, 0, true))
	golden(t, "dump-deep.txt", deep.Bytes())
	require.NoError(t, DumpLog(&file, bytes.NewReader(log), int64(len(log)), true))
	require.Equal(t, deep.String(), file.String())

	file.Reset()
	require.NoError(t, DumpLog(&file, bytes.NewReader(log[:20]), 20, true))
	require.Contains(t, file.String(), "cut short")
	require.Error(t, Dump(failingWriter{}, log, 0, true))
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no") }
