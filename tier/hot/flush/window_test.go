package flush

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// TestWindow: what is asked for is what stands there, no byte is read twice, and what is asked for far apart reads no more
// than that.
func TestWindow(t *testing.T) {
	mem := newDisk(t, 1)
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(i * i >> 7)
	}
	require.NoError(t, disk.WriteFileSync(mem, "/file", want))
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		read := 0
		fsys := disk.NewFaulty(mem, func(c disk.Call) disk.Fault {
			if c.Op == disk.OpRead {
				read += c.Bytes
			}
			return disk.Fault{}
		})
		f, err := fsys.OpenFile("/file", os.O_RDONLY, 0)
		require.NoError(t, err)
		w := newWindow(f, 100)
		gap := 1 << rng.IntN(14)
		for at := 0; at+300 < len(want); at += rng.IntN(gap) {
			n := 1 + rng.IntN(300)
			b, err := w.at(int64(at), n)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want[at:at+n], b), "seed %d: %d bytes at %d", seed, n, at)
			if rng.IntN(2) == 0 {
				at += n
			}
		}
		require.LessOrEqual(t, read, len(want)+windowMost, "seed %d", seed)
		b, err := w.at(int64(len(want)-10), 100)
		require.NoError(t, err)
		require.Equal(t, want[len(want)-10:], b)
		w = newWindow(f, 100)
		read = 0
		for at := range len(want) / block {
			_, err := w.at(int64(at)*block, 40)
			require.NoError(t, err)
		}
		require.LessOrEqual(t, read, len(want)/block*100+100, "seed %d", seed)
		require.NoError(t, f.Close())
	}
}
