package ledger

import (
	"encoding/binary"
	"flag"
	"hash/crc32"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/topic"
)

var update = flag.Bool("update", false, "write golden files anew (only for a version that was never released)")

const golden = "testdata/fold-v1.golden"

func goldenFold() FoldFile {
	id, err := topic.ParseID("AAECAwQFBgcICQoLDA0ODw")
	if err != nil {
		panic(err)
	}
	return FoldFile{ClusterID: "cluster", Generation: "gen", Partition: topic.Partition{ID: id, Topic: "events", Index: 7}, LedgerVersion: 42,
		Segments: []Segment{
			{Base: 5, Next: 10, Key: "a/b/5-1-x", Position: 3, Length: 100, CRC32C: 0xdeadbeef, DataBytes: 500, IndexLength: 20, Epoch: 1, MinTimestamp: -1, MaxTimestamp: 1700000000000, MaxTimestampOffset: 6, CommittedAt: 1700000000001},
			{Base: 10, Next: 11, Key: "a/b/10-2-y", Length: 1, DataBytes: 0, Epoch: 2, MaxTimestampOffset: -1},
			{Base: 20, Next: 1 << 40, Key: "é", Length: 1 << 41, DataBytes: 1 << 42, Epoch: 1<<31 - 1, MinTimestamp: 1, MaxTimestamp: 2, MaxTimestampOffset: 21},
		}}
}

// I-19: what version 1 wrote stays readable for ever.
func TestFoldGolden(t *testing.T) {
	b, err := EncodeFold(goldenFold())
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(golden, b, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, want, b)
	f, err := ParseFold(want)
	require.NoError(t, err)
	require.Equal(t, goldenFold(), f)
}

// Every single flipped bit and every cut is found out.
func TestFoldDamage(t *testing.T) {
	ref, b, err := NewFold("k", goldenFold())
	require.NoError(t, err)
	for i := range b {
		_, err := ParseFold(b[:i])
		require.ErrorIs(t, err, ErrFoldCorrupt)
		for bit := range 8 {
			bad := append([]byte(nil), b...)
			bad[i] ^= 1 << bit
			_, err = ParseFold(bad)
			require.ErrorIs(t, err, ErrFoldCorrupt)
			_, err = LoadFold(ref, bad)
			require.ErrorIs(t, err, ErrFoldCorrupt)
		}
	}
	_, err = LoadFold(ref, append(b, 0))
	require.ErrorIs(t, err, ErrFoldCorrupt)
	other := goldenFold()
	other.Segments = other.Segments[1:]
	_, b2, err := NewFold("k", other)
	require.NoError(t, err)
	_, err = LoadFold(ref, b2)
	require.ErrorIs(t, err, ErrFoldCorrupt, "another fold under the same name")
}

// reseal puts a valid checksum under changed content.
func reseal(b []byte) []byte {
	n := len(b) - 4
	binary.BigEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
	return b
}

func TestFoldVersions(t *testing.T) {
	b, err := EncodeFold(goldenFold())
	require.NoError(t, err)
	newer := append([]byte(nil), b...)
	newer[9] = 2
	_, err = ParseFold(reseal(newer))
	require.ErrorIs(t, err, ErrFoldVersion)

	// A field that a later minor change appends to an entry is skipped.
	f := goldenFold()
	f.Segments = f.Segments[:1]
	b, err = EncodeFold(f)
	require.NoError(t, err)
	at := len(b) - 4 - entryMin - len(f.Segments[0].Key) - 4
	longer := append([]byte(nil), b[:len(b)-4]...)
	longer = append(longer, 1, 2, 3)
	binary.BigEndian.PutUint32(longer[at:], binary.BigEndian.Uint32(longer[at:])+3)
	got, err := ParseFold(reseal(append(longer, 0, 0, 0, 0)))
	require.NoError(t, err)
	require.Equal(t, f, got)
}

func TestFoldRefuses(t *testing.T) {
	_, err := EncodeFold(FoldFile{})
	require.ErrorIs(t, err, ErrInvalid)
	f := goldenFold()
	f.Segments[1].Base = 9
	_, err = EncodeFold(f)
	require.ErrorIs(t, err, ErrInvalid)
	f = goldenFold()
	f.Segments[1].Key = ""
	_, err = EncodeFold(f)
	require.ErrorIs(t, err, ErrInvalid)
}

func FuzzParseFold(f *testing.F) {
	b, err := EncodeFold(goldenFold())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:40])
	f.Fuzz(func(t *testing.T, in []byte) {
		ParseFold(in) // must not panic
		if len(in) < 8 {
			return
		}
		// The checksum would keep the fuzzer out of the parser.
		got, err := ParseFold(reseal(append([]byte(nil), in...)))
		if err != nil {
			return
		}
		out, err := EncodeFold(got)
		if err != nil {
			t.Fatalf("parsed, but not encodable: %v", err)
		}
		again, err := ParseFold(out)
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Segments) != len(got.Segments) || again.Segments[0] != got.Segments[0] {
			t.Fatal("does not come back")
		}
	})
}
