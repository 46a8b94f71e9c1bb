package machine

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// kernelSays reads the time from a /proc/stat of that text, in ticks of 10 ms.
func kernelSays(t *testing.T, text string) CPUTime {
	t.Helper()
	proc := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(proc, "stat"), []byte(text), 0o600))
	return readCPUTime(proc)
}

func TestStolenTime(t *testing.T) {
	before := kernelSays(t, "cpu  100 10 50 800 20 5 5 10 7 3\ncpu0 50 5 25 400 10 2 3 5 3 1\n")
	assert.InDelta(t, 0.1, before.Stolen, 1e-9)
	assert.InDelta(t, 10, before.Total, 1e-9, "the eight columns of all processors; guests are counted in user already")
	share, known := kernelSays(t, "cpu  110 10 60 850 20 5 5 40 7 3\n").StolenSince(before)
	assert.True(t, known)
	assert.InDelta(t, 0.3, share, 1e-9, "30 of 100 ticks")
	share, known = kernelSays(t, "cpu  210 10 50 800 20 5 5 8 7 3\n").StolenSince(before)
	assert.True(t, known)
	assert.Zero(t, share, "counters may step back")
}

// TestStolenTimeIsUnknown: who cannot tell does not guess.
func TestStolenTimeIsUnknown(t *testing.T) {
	good := CPUTime{Stolen: 1, Total: 100}
	for _, text := range []string{"", "cpu 1 2 3 4 5 6 7 x\n", "intr 1 2 3 4 5 6 7 8 9\n"} {
		assert.Zero(t, kernelSays(t, text), "%q", text)
	}
	assert.Zero(t, readCPUTime(filepath.Join(t.TempDir(), "none")))
	for _, pair := range [][2]CPUTime{{{}, {}}, {{}, good}, {good, {}}, {good, good}} {
		_, known := pair[1].StolenSince(pair[0])
		assert.False(t, known, "%v", pair)
	}
	if runtime.GOOS == "linux" {
		assert.Positive(t, ReadCPUTime().Total)
	}
}
