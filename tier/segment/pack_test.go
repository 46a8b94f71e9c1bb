package segment

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// A run of data that does not compress is tried by a sample only, and the first chunk after it that compresses is
// compressed again.
func TestCompressionFollowsTheData(t *testing.T) {
	noise := batches(1000, 6000, rand.New(rand.NewPCG(1, 1))) // 5 chunks of 1 MiB
	text := batches(6000, 40_000, nil)
	seg, _ := write(t, WriterOptions{Meta: testMeta, Compression: CompressionZstd}, append(noise, text...))
	ix, got := read(t, seg)
	require.Equal(t, append(noise, text...), got)
	var raw, packed int
	for _, c := range ix.Chunks() {
		switch {
		case c.Compressed:
			packed++
		case packed > 0:
			t.Fatalf("the chunk at offset %d is stored raw", c.Base)
		default:
			raw++
		}
	}
	require.GreaterOrEqual(t, raw, 4)
	require.GreaterOrEqual(t, packed, 2)
}

// The sample itself: what compresses only in its middle is worth trying, noise is not, and the encoder is not run
// over all of it.
func TestSampleSaves(t *testing.T) {
	w := NewWriter(nil, WriterOptions{Meta: testMeta, Compression: CompressionZstd})
	w.encoder = encoder(3)
	r := rand.New(rand.NewPCG(2, 2))
	w.raw = make([]byte, 1<<20)
	for i := range w.raw {
		w.raw[i] = byte(r.Uint32())
	}
	require.False(t, w.sampleSaves())
	w.futile = true
	require.False(t, w.pack())
	require.Less(t, len(w.packed), 2*sampleBytes)
	require.True(t, w.Futile())
	clear(w.raw[len(w.raw)/2:][:sampleBytes])
	require.True(t, w.sampleSaves())
	w.raw = w.raw[:4*sampleBytes]
	clear(w.raw[1<<10:])
	require.True(t, w.sampleSaves(), "what is small is tried whole")
}
