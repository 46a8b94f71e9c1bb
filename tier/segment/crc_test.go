package segment

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The checksum of a whole follows from those of its parts, wherever it is cut.
func TestJoinCRC(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	b := make([]byte, 3<<20)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for _, n := range []int{0, 1, 2, 7, 255, 256, 4097, 1 << 20, len(b)} {
		for _, cut := range []int{0, 1, n / 3, n} {
			cut = min(cut, n)
			first, second := crc32.Checksum(b[:cut], castagnoli), crc32.Checksum(b[cut:n], castagnoli)
			require.Equal(t, crc32.Checksum(b[:n], castagnoli), joinCRC(first, second, int64(n-cut)), "%d of %d", cut, n)
		}
	}
}
