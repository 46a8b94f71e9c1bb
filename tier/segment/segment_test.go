package segment

import (
	"bytes"
	"errors"
	"flag"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var testMeta = Meta{
	ClusterID: "firn-test-cluster",
	Topic: topic.Partition{ID: topic.ID{1, 2, 3, 4, 5, 6, 0x47, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		Topic: "events", Index: 3},
	Base: 1000, Epoch: 7,
}

var testState = State{
	Epochs: []EpochEntry{{2, 0}, {5, 700}, {7, 1010}},
	Producers: []ProducerEntry{
		{ID: 4001, Epoch: 2, CoordinatorEpoch: -1, LastTimestamp: 1_600_000_000_009, CurrentTxnFirstOffset: 1008,
			Batches: []ProducerBatch{{0, 4, 1004, 1_600_000_000_005}, {5, 9, 1009, 1_600_000_000_009}}},
		{ID: 77, Epoch: 0, CoordinatorEpoch: 3, LastTimestamp: -1, CurrentTxnFirstOffset: -1},
	},
	Aborted: []AbortedTxn{{4001, 1002, 2040, 1500}, {77, 990, 1001, 995}},
}

// batch is n records from base on, with timestamps that rise with the offset. Without filler it compresses well, with it hardly.
func batch(base int64, n int, filler *rand.Rand) []byte {
	b := record.NewBuilder(record.None)
	for i := range n {
		value := bytes.Repeat([]byte(`{"event":"firn"}`), 4)
		if filler != nil {
			value = make([]byte, 1000)
			for j := range value {
				value[j] = byte(filler.Uint32())
			}
		}
		b.Append(1_600_000_000_000+base+int64(i), []byte("key"), value, nil)
	}
	out := b.Build(0)
	record.Stamp(out, base, 7)
	return out
}

// batches is consecutive batches of 5 records from base up to next.
func batches(base, next int64, filler *rand.Rand) []byte {
	var b []byte
	for ; base < next; base += 5 {
		b = append(b, batch(base, 5, filler)...)
	}
	return b
}

// write makes a segment of the batches.
func write(t testing.TB, o WriterOptions, data []byte) ([]byte, Summary) {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, o)
	require.NoError(t, w.Add(data))
	s, err := w.Close()
	require.NoError(t, err)
	require.EqualValues(t, out.Len(), s.Length)
	require.Equal(t, crc32.Checksum(out.Bytes(), castagnoli), s.CRC32C)
	return out.Bytes(), s
}

// read gives back all batches of a segment.
func read(t testing.TB, seg []byte) (*Index, []byte) {
	t.Helper()
	ix, err := Open(bytes.NewReader(seg), int64(len(seg)))
	require.NoError(t, err)
	require.NoError(t, VerifyIndex(ix, bytes.NewReader(seg)))
	var out []byte
	for _, c := range ix.Chunks() {
		n := len(out)
		out, err = DecodeChunk(out, seg[c.Position:c.Position+int64(c.Length)], c)
		require.NoError(t, err)
		require.Len(t, out, n+c.RawLength)
	}
	return ix, out
}

func TestRoundTrip(t *testing.T) {
	for name, tt := range map[string]struct {
		o          WriterOptions
		filler     *rand.Rand
		compressed bool
	}{
		"none":           {WriterOptions{}, nil, false},
		"zstd":           {WriterOptions{Compression: CompressionZstd}, nil, true},
		"zstd level 19":  {WriterOptions{Compression: CompressionZstd, Level: 19}, nil, true},
		"incompressible": {WriterOptions{Compression: CompressionZstd}, rand.New(rand.NewPCG(1, 2)), false},
		"small chunks":   {WriterOptions{Compression: CompressionZstd, ChunkBytes: 1500}, nil, true},
		"tiny chunks":    {WriterOptions{ChunkBytes: 1}, nil, false},
		"next known":     {WriterOptions{Meta: Meta{Next: 1200}}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			next := tt.o.Meta.Next
			tt.o.Meta, tt.o.State = testMeta, testState
			tt.o.Meta.Next = next
			data := batches(1000, 1200, tt.filler)
			seg, s := write(t, tt.o, data)
			again, _ := write(t, tt.o, data)
			require.True(t, bytes.Equal(seg, again), "the same input gives the same bytes")
			ix, out := read(t, seg)
			require.True(t, bytes.Equal(data, out), "byte for byte")
			meta := testMeta
			meta.Next = 1200
			require.Equal(t, meta, ix.Meta())
			require.Equal(t, testState.Epochs, ix.Epochs())
			require.Equal(t, []ProducerEntry{testState.Producers[1], testState.Producers[0]}, ix.Producers())
			require.Equal(t, []AbortedTxn{testState.Aborted[1], testState.Aborted[0]}, ix.Aborted())
			require.Equal(t, tt.compressed, ix.Chunks()[0].Compressed)
			if tt.compressed {
				require.Less(t, s.Length, int64(len(data)))
			}
			want := Summary{Base: 1000, Next: 1200, Length: int64(len(seg)), IndexLength: s.IndexLength,
				DataBytes: int64(len(data)), Chunks: len(ix.Chunks()), MinTimestamp: 1_600_000_001_000,
				MaxTimestamp: 1_600_000_001_199, MaxTimestampOffset: 1199}
			require.Equal(t, want, ix.Summary())
			want.CRC32C = s.CRC32C
			require.Equal(t, want, s)
			for _, c := range ix.Chunks() {
				if tt.o.ChunkBytes > 1 {
					require.LessOrEqual(t, c.RawLength, tt.o.ChunkBytes)
				}
			}
			if tt.o.ChunkBytes == 1 {
				require.Len(t, ix.Chunks(), 40, "a batch larger than a chunk is a chunk")
			}
		})
	}
}

func TestAddInPieces(t *testing.T) {
	o := WriterOptions{Meta: testMeta, Compression: CompressionZstd, ChunkBytes: 4000}
	data := batches(1000, 1100, nil)
	whole, _ := write(t, o, data)
	var out bytes.Buffer
	w := NewWriter(&out, o)
	for it := record.Batches(data); it.Next(); {
		piece := bytes.Clone(it.Bytes())
		require.NoError(t, w.Add(piece))
		clear(piece) // it is not kept
		require.Equal(t, it.Header().NextOffset(), w.Next())
	}
	w.SetState(State{})
	_, err := w.Close()
	require.NoError(t, err)
	require.True(t, bytes.Equal(whole, out.Bytes()))
	_, err = w.Close()
	require.Error(t, err)
	require.Error(t, w.Add(batch(1100, 1, nil)))
}

func TestFind(t *testing.T) {
	seg, _ := write(t, WriterOptions{Meta: testMeta, ChunkBytes: 1500}, batches(1000, 1200, nil))
	ix, _ := read(t, seg)
	for offset := int64(990); offset < 1205; offset++ {
		i, ok := ix.FindOffset(offset)
		require.Equal(t, offset < 1200, ok)
		if !ok {
			continue
		}
		c := ix.Chunks()[i]
		require.True(t, c.Base <= max(offset, 1000) && offset < c.Next, "offset %d in %+v", offset, c)
		data, err := DecodeChunk(nil, seg[c.Position:c.Position+int64(c.Length)], c)
		require.NoError(t, err)
		pos, ok := record.Find(data, offset)
		require.True(t, ok)
		h, err := record.Check(data[pos:])
		require.NoError(t, err)
		require.Equal(t, max(offset, 1000)/5*5, h.BaseOffset)

		i, ok = ix.FindTime(1_600_000_000_000 + offset)
		require.True(t, ok)
		require.Equal(t, c, ix.Chunks()[i], "timestamps rise with the offset here")
	}
	_, ok := ix.FindTime(1_600_000_001_200)
	require.False(t, ok)
}

func TestAbortedIn(t *testing.T) {
	seg, _ := write(t, WriterOptions{Meta: testMeta, State: testState}, batches(1000, 1200, nil))
	ix, _ := read(t, seg)
	a, b := testState.Aborted[1], testState.Aborted[0] // 990 to 1001, 1002 to 2040
	for r, want := range map[[2]int64][]AbortedTxn{
		{1000, 1200}: {a, b}, {1001, 1002}: {a}, {1002, 1003}: {b}, {0, 990}: nil, {0, 991}: {a}, {2040, 2041}: {b}, {2041, 9999}: nil,
	} {
		require.Equal(t, want, ix.AbortedIn(r[0], r[1]), r)
	}
}

// What a Writer must refuse: a hole in the hot log must not become one in the archive.
func TestWriterRefuses(t *testing.T) {
	good := batches(1000, 1010, nil)
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1] ^= 1
	for name, tt := range map[string]struct {
		meta func(*Meta)
		data []byte
		gaps bool
	}{
		"nothing":             {func(*Meta) {}, nil, false},
		"gap at the start":    {func(m *Meta) { m.Base = 999 }, good, false},
		"gap within":          {func(*Meta) {}, append(bytes.Clone(good), batch(1011, 1, nil)...), false},
		"gap at the end":      {func(m *Meta) { m.Next = 1011 }, good, false},
		"beyond the range":    {func(m *Meta) { m.Next = 1009 }, good, true},
		"overlap":             {func(*Meta) {}, append(bytes.Clone(good), batch(1009, 2, nil)...), true},
		"again":               {func(*Meta) {}, append(bytes.Clone(good), good...), true},
		"before the range":    {func(m *Meta) { m.Base = 1005 }, good, true},
		"newer leader epoch":  {func(m *Meta) { m.Epoch = 6 }, good, true},
		"damaged batch":       {func(*Meta) {}, damaged, true},
		"piece of a batch":    {func(*Meta) {}, good[:len(good)-1], true},
		"negative base":       {func(m *Meta) { m.Base = -1 }, good, true},
		"range of no offsets": {func(m *Meta) { m.Next = m.Base }, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := testMeta
			tt.meta(&m)
			w := NewWriter(&bytes.Buffer{}, WriterOptions{Meta: m, Gaps: tt.gaps})
			err := w.Add(tt.data)
			_, closeErr := w.Close()
			require.Error(t, closeErr)
			if err != nil {
				require.Equal(t, err, closeErr, "it stays with its first error")
			}
		})
	}
	w := NewWriter(failing{}, WriterOptions{Meta: testMeta})
	require.NoError(t, w.Add(good))
	_, err := w.Close()
	require.ErrorIs(t, err, errFull)
}

var errFull = errors.New("no space")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// I-15, I-17: a range that a cleaner thinned is covered to its very ends; a batch that log start cut into comes whole.
func TestGaps(t *testing.T) {
	m := testMeta
	m.Base, m.Next = 990, 1300
	data := bytes.Join([][]byte{batch(1000, 5, nil), batch(1100, 5, nil), batch(1200, 5, nil)}, nil)
	seg, s := write(t, WriterOptions{Meta: m, Gaps: true, ChunkBytes: 1}, data)
	require.EqualValues(t, 990, s.Base)
	require.EqualValues(t, 1300, s.Next)
	ix, out := read(t, seg)
	require.Equal(t, data, out)
	chunks := ix.Chunks()
	require.EqualValues(t, 990, chunks[0].Base)
	require.EqualValues(t, 1300, chunks[2].Next)
	for i, c := range chunks[1:] {
		require.Equal(t, chunks[i].Next, c.Base, "chunks tile the range")
	}
	i, ok := ix.FindOffset(1050)
	require.True(t, ok)
	require.Equal(t, 1, i, "the next batch that exists is in the next chunk")

	empty, s := write(t, WriterOptions{Meta: m, Gaps: true}, nil)
	require.EqualValues(t, -1, s.MaxTimestamp)
	ix, out = read(t, empty)
	require.Empty(t, out)
	_, ok = ix.FindOffset(1000)
	require.False(t, ok)

	m.Base, m.Next = 1003, 0
	seg, s = write(t, WriterOptions{Meta: m}, batches(1000, 1010, nil))
	require.EqualValues(t, 1003, s.Base)
	_, out = read(t, seg)
	require.Equal(t, batches(1000, 1010, nil), out)
}

// The first record with the greatest timestamp is found wherever its batch lies.
func TestTimestamps(t *testing.T) {
	for _, chunkBytes := range []int{1, 200, 1 << 20} {
		var data []byte
		for i, ts := range []int64{50, 70, 300, 20, 300, 60} {
			b := record.NewBuilder(record.Gzip).Append(ts-1, nil, nil, nil).Append(ts, nil, nil, nil).Append(ts, nil, nil, nil).Build(0)
			record.Stamp(b, 1000+int64(3*i), 0)
			data = append(data, b...)
		}
		seg, s := write(t, WriterOptions{Meta: testMeta, ChunkBytes: chunkBytes}, data)
		require.EqualValues(t, 19, s.MinTimestamp)
		require.EqualValues(t, 300, s.MaxTimestamp)
		require.EqualValues(t, 1007, s.MaxTimestampOffset)
		read(t, seg)
	}
	none := record.NewBuilder(record.None).Append(record.NoTimestamp, nil, nil, nil).Build(1000)
	_, s := write(t, WriterOptions{Meta: testMeta}, none)
	require.EqualValues(t, -1, s.MaxTimestamp)
	require.EqualValues(t, -1, s.MaxTimestampOffset)
}

// A segment may lie anywhere in a larger object.
func TestSegmentWithinObject(t *testing.T) {
	seg, _ := write(t, WriterOptions{Meta: testMeta, Compression: CompressionZstd}, batches(1000, 1200, nil))
	object := bytes.Join([][]byte{[]byte("another segment"), seg, []byte("yet another")}, nil)
	r := bytes.NewReader(object)
	section := sectionOf(r, 15, int64(len(seg)))
	ix, err := Open(section, int64(len(seg)))
	require.NoError(t, err)
	require.NoError(t, VerifyIndex(ix, section))
}

func TestShortTail(t *testing.T) {
	seg, s := write(t, WriterOptions{Meta: testMeta, State: testState}, batches(1000, 1200, nil))
	total := int64(len(seg))
	ix, err := ParseIndex(seg[total-s.IndexLength:], total)
	require.NoError(t, err, "what the ledger says is enough")
	require.NotNil(t, ix)
	var short *ShortError
	for _, n := range []int64{0, FooterSize - 1, FooterSize, s.IndexLength - 1} {
		_, err := ParseIndex(seg[total-n:], total)
		require.ErrorAs(t, err, &short, "%d bytes", n)
		require.Greater(t, short.Need, n)
		_, err = ParseIndex(seg[total-short.Need:], total)
		if short.Need == FooterSize {
			require.ErrorAs(t, err, &short)
		} else {
			require.NoError(t, err)
		}
	}
	// More state than Open's first guess of the tail.
	big := State{}
	for i := range 5000 {
		big.Producers = append(big.Producers, ProducerEntry{ID: int64(i)})
	}
	seg, _ = write(t, WriterOptions{Meta: testMeta, State: big}, batches(1000, 1005, nil))
	ix, _ = read(t, seg)
	require.Len(t, ix.Producers(), 5000)
}

// The golden files of version 1 stay readable for ever; the raw one is also written the same for ever. How zstd
// compresses is the library's affair.
func TestGolden(t *testing.T) {
	data := batches(1000, 1030, nil)
	for name, o := range map[string]WriterOptions{
		"v1-raw":  {Meta: testMeta, ChunkBytes: 1200, State: testState},
		"v1-zstd": {Meta: testMeta, ChunkBytes: 1200, State: testState, Compression: CompressionZstd},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name)
			now, _ := write(t, o, data)
			if *update {
				require.NoError(t, os.WriteFile(path+".seg", now, 0o644))
			}
			seg, err := os.ReadFile(path + ".seg")
			require.NoError(t, err)
			_, out := read(t, seg)
			require.Equal(t, data, out)
			if o.Compression == CompressionNone {
				require.Equal(t, seg, now, "a new layout needs a new version and a new golden file")
			}
			var dump bytes.Buffer
			require.NoError(t, Dump(&dump, bytes.NewReader(seg), int64(len(seg)), true))
			if *update {
				require.NoError(t, os.WriteFile(path+".txt", dump.Bytes(), 0o644))
			}
			want, err := os.ReadFile(path + ".txt")
			require.NoError(t, err)
			require.Equal(t, string(want), dump.String())
			require.True(t, Sniff(seg))
			require.False(t, Sniff(data))
		})
	}
}
