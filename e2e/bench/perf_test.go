package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/bench/internal/report"
)

func TestPerfIsRefusedWithoutPerf(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := run(t.Context(), Options{Perf: true, Out: t.TempDir()})
	require.ErrorContains(t, err, "-perf")
	require.ErrorContains(t, err, "install it")
}

// TestProfiles: of firn's sides, in rounds that are not counted.
func TestProfiles(t *testing.T) {
	out := t.TempDir()
	if text, err := exec.Command("perf", "record", "-o", filepath.Join(out, "perf.data"), "true").CombinedOutput(); err != nil {
		t.Skipf("perf takes no profiles on this machine: %v %s", err, text)
	}
	require.NoError(t, run(t.Context(), Options{
		Cases: regexp.MustCompile(`^a produce, 16 partitions, plain$`), Sides: regexp.MustCompile("^(firn|sink) page cache"), Alternations: 1, Perf: true,
		Round: 500 * time.Millisecond, Binary: firn(t), Out: out, Progress: progress{t}, Table: &bytes.Buffer{},
	}))
	f, err := report.Open(out)
	require.NoError(t, err)
	r := f.Results()[0]
	plausible(t, r)
	assert.Len(t, r.Rounds["firn page cache"], 1, "the round of the profile is not counted")
	require.Len(t, r.Profiles, 1)
	assert.Equal(t, "firn page cache", r.Profiles[0].Side)
	assert.NotEmpty(t, r.Profiles[0].Groups)
	assert.Positive(t, r.Profiles[0].Samples)
	files, err := filepath.Glob(filepath.Join(out, "profiles", "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(out, "profiles", "a-produce-16-partitions-plain-firn-page-cache.txt")}, files)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	assert.Contains(t, string(text), "samples of the process's CPU time")
}
