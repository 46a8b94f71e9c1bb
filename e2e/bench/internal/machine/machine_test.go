package machine

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDescriptionNamesNoPlace: results are published, so they tell what the machine is like and not whose it is.
func TestDescriptionNamesNoPlace(t *testing.T) {
	dir := t.TempDir()
	d := Describe(dir, "4.3.1")
	assert.NotEmpty(t, d.CPU)
	assert.Positive(t, d.Cores)
	assert.Positive(t, d.MemoryGB)
	assert.NotEqual(t, "unknown", d.FileSystem)
	text, err := json.Marshal(d)
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	if host != "localhost" {
		assert.NotContains(t, string(text), host)
	}
	assert.NotContains(t, string(text), dir)
}

func TestProbe(t *testing.T) {
	p, err := NewProbe(t.TempDir())
	require.NoError(t, err)
	rate, err := p.Throughput()
	require.NoError(t, err)
	assert.Positive(t, rate)
	syncs, err := p.Syncs(3)
	require.NoError(t, err)
	assert.Len(t, syncs, 3)
	for _, s := range syncs {
		assert.Positive(t, s)
	}
	require.NoError(t, p.Close())
}

func TestTouch(t *testing.T) {
	require.NoError(t, Touch(3<<20))
	require.NoError(t, Touch(0))
	assert.Positive(t, Available())
}
