package machine

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStolenTime(t *testing.T) {
	before := parseCPUTime("cpu  100 10 50 800 20 5 5 10 7 3\ncpu0 50 5 25 400 10 2 3 5 3 1\n")
	require.Equal(t, CPUTime{Stolen: 10, Total: 1000}, before, "the eight columns of all processors; guests are counted in user already")
	share, known := parseCPUTime("cpu  110 10 60 850 20 5 5 40 7 3\n").StolenSince(before)
	assert.True(t, known)
	assert.InDelta(t, 0.3, share, 1e-9, "30 of 100 ticks")
	share, known = parseCPUTime("cpu  210 10 50 800 20 5 5 8 7 3\n").StolenSince(before)
	assert.True(t, known)
	assert.Zero(t, share, "counters may step back")
}

// TestStolenTimeIsUnknown: who cannot tell does not guess.
func TestStolenTimeIsUnknown(t *testing.T) {
	good := CPUTime{Stolen: 1, Total: 100}
	for _, text := range []string{"", "cpu 1 2 3 4\n", "cpu 1 2 3 4 5 6 7 x\n", "intr 1 2 3 4 5 6 7 8 9\n"} {
		assert.Zero(t, parseCPUTime(text), "%q", text)
	}
	for _, pair := range [][2]CPUTime{{{}, {}}, {{}, good}, {good, {}}, {good, good}} {
		_, known := pair[1].StolenSince(pair[0])
		assert.False(t, known, "%v", pair)
	}
	if runtime.GOOS == "linux" {
		assert.Positive(t, ReadCPUTime().Total)
	}
}
