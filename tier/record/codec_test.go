package record

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/stretchr/testify/require"
)

// payloads are inputs that compress well, badly and not at all.
func payloads() map[string][]byte {
	random := make([]byte, 300_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	return map[string][]byte{
		"empty": {}, "one": {7}, "text": []byte(strings.Repeat("to be or not to be, ", 5000)), "random": random,
		"zeros": make([]byte, 3<<20),
	}
}

func TestCodecRoundTrip(t *testing.T) {
	for _, codec := range allCodecs {
		for name, in := range payloads() {
			packed, err := Compress([]byte("before"), in, codec)
			require.NoError(t, err)
			require.Equal(t, "before", string(packed[:6]))
			out, err := Decompress([]byte("dst"), packed[6:], codec, len(in))
			require.NoError(t, err, "%s %s: exactly as much as is allowed", codec, name)
			require.Equal(t, "dst", string(out[:3]))
			require.True(t, bytes.Equal(in, out[3:]), "%s %s", codec, name)
			if len(in) > 0 {
				out, err = Decompress([]byte("dst"), packed[6:], codec, len(in)-1)
				require.ErrorIs(t, err, ErrTooLarge, "%s %s", codec, name)
				require.Equal(t, "dst", string(out))
			}
		}
	}
	_, err := Compress(nil, nil, 6)
	require.ErrorIs(t, err, ErrCodec)
	_, err = Decompress(nil, nil, 6, 1)
	require.ErrorIs(t, err, ErrCodec)
}

// I-32: a bomb is refused before it takes the memory that it claims.
func TestBombs(t *testing.T) {
	big := make([]byte, 64<<20)
	const limit = 1 << 20
	for _, codec := range allCodecs[1:] {
		packed, err := Compress(nil, big, codec)
		require.NoError(t, err)
		_, err = Decompress(nil, packed, codec, limit) // fills the pools
		require.ErrorIs(t, err, ErrTooLarge)
		n := allocated(func() { _, err = Decompress(nil, packed, codec, limit) })
		require.ErrorIs(t, err, ErrTooLarge, codec)
		require.Less(t, n, uint64(16*limit), codec)
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// I-32: frames that claim what they do not hold are not believed.
func TestLyingFrames(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<28)
	// A zstd frame of one raw block of 1 byte whose header claims 2 GiB.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x80, 0x09, 0, 0, 'x'}
	for name, tt := range map[string]struct {
		codec Codec
		src   []byte
	}{
		"raw snappy": {Snappy, huge},
		"xerial":     {Snappy, append(append(bytes.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, byte(len(huge))), huge...)},
		"zstd":       {Zstd, frame},
	} {
		const limit = 4 << 20
		max := limit
		if tt.codec == Snappy {
			max = 1 << 40 // what is refused without a limit
		}
		var err error
		n := allocated(func() { _, err = Decompress(nil, tt.src, tt.codec, max) })
		require.Error(t, err, name)
		require.Less(t, n, uint64(16*limit), name)
	}
	out, err := Decompress(nil, append(frame[:4:4], 0xa0, 1, 0, 0, 0, 0x09, 0, 0, 'x'), Zstd, 1)
	require.NoError(t, err, "the same frame when it does not lie")
	require.Equal(t, "x", string(out))
}

func TestXerial(t *testing.T) {
	in := bytes.Repeat([]byte("0123456789abcdef"), 5000) // 80 000 bytes: three blocks
	packed, err := Compress(nil, in, Snappy)
	require.NoError(t, err)
	require.Equal(t, xerialMagic, packed[:8])
	ends := []int{xerialHeader}
	for end := xerialHeader; end < len(packed); ends = append(ends, end) {
		end += 4 + int(binary.BigEndian.Uint32(packed[end:]))
	}
	require.Len(t, ends, 1+3)
	out, err := Decompress(nil, snappy.Encode(nil, in), Snappy, len(in))
	require.NoError(t, err, "raw snappy")
	require.Equal(t, in, out)
	_, err = Decompress(nil, packed, Snappy, len(in)-1)
	require.ErrorIs(t, err, ErrTooLarge, "blocks count together")
	for n := 1; n < len(packed); n++ {
		_, err := Decompress(nil, packed[:n], Snappy, len(in))
		if slices.Contains(ends, n) {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrCorrupt, "only whole blocks pass")
		}
	}
}

func TestCodecNames(t *testing.T) {
	names := make([]string, 0, len(allCodecs))
	for _, c := range allCodecs {
		names = append(names, c.String())
	}
	require.Equal(t, []string{"none", "gzip", "snappy", "lz4", "zstd"}, names)
	require.Equal(t, "codec 7", Codec(7).String())
}
