package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/bench/internal/report"
	"github.com/firnlog/firn/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// firn is the binary that all tests measure.
func firn(t *testing.T) string {
	t.Helper()
	binary, err := harness.Binary("")
	require.NoError(t, err)
	return binary
}

func TestOrder(t *testing.T) {
	assert.Equal(t, []int{0, 1, 2}, order(0, 3))
	assert.Equal(t, []int{2, 1, 0}, order(1, 3))
	assert.Equal(t, []int{1, 2, 0}, order(2, 3))
	assert.Equal(t, []int{0, 2, 1}, order(3, 3))
	first := map[int]int{}
	for i := range 6 {
		first[order(i, 3)[0]]++
	}
	assert.Equal(t, map[int]int{0: 2, 1: 2, 2: 2}, first, "each side is first as often as the others")
}

// TestCasesAreSound: names are unique, and each bar is of one bound. TestBars says which there are.
func TestCasesAreSound(t *testing.T) {
	names := map[string]bool{}
	for _, c := range cases() {
		assert.False(t, names[c.Name], c.Name)
		names[c.Name] = true
		assert.Regexp(t, `^[a-i] \S`, c.Name)
		assert.NotEmpty(t, c.About, c.Name)
		for _, b := range c.Bars {
			assert.True(t, (b.AtLeast == 0) != (b.AtMost == 0), "%s: %s has one bound", c.Name, b)
			assert.True(t, !b.Device || b.Figure == judge.MBPerSecond && b.Beside != "", "%s: %s", c.Name, b)
		}
	}
}

// TestSmoke runs a round of each kind of load on a real firn and a real reference, and looks whether what is reported
// was there.
func TestSmoke(t *testing.T) {
	out, sides := t.TempDir(), `firn|sink page cache|source`
	if harness.Full() {
		sides = `firn|sink|source`
	}
	o := Options{
		Cases:        regexp.MustCompile(`^a produce, 16 partitions, zstd$|^b |^c hot fetch, 16 partitions, 1 consumer$|^d latency at 10 MB/s, 16`),
		Sides:        regexp.MustCompile(sides),
		Alternations: harness.Count(1, 3), Round: time.Duration(harness.Count(300, 2000)) * time.Millisecond, Bytes: 32 << 20, Binary: firn(t),
		Out: out, Progress: progress{t}, Table: &bytes.Buffer{},
	}
	require.NoError(t, run(t.Context(), o))
	f, err := report.Open(out)
	require.NoError(t, err)
	results := f.Results()
	require.Len(t, results, 5)
	for _, r := range results {
		plausible(t, r)
	}
	for _, f := range results[0].Rounds["firn flush"] {
		assert.Less(t, f[judge.WrittenPerByte], 0.6, "MB are of uncompressed batches")
		assert.InDelta(t, 0.3, f[judge.WirePerByte], 0.25)
	}
	text, err := os.ReadFile(filepath.Join(out, "results.md"))
	require.NoError(t, err)
	assert.Contains(t, string(text), "firn page cache ÷ sink page cache")
	assert.Contains(t, string(text), "(trial of")
	host, err := os.Hostname()
	require.NoError(t, err)
	if host != "localhost" {
		assert.NotContains(t, string(text), host)
	}
	assert.NotContains(t, string(text), os.TempDir())

	o.Resume = true
	var said bytes.Buffer
	o.Progress = &said
	require.NoError(t, run(t.Context(), o))
	assert.NotContains(t, said.String(), "case 1", "what was measured is not measured again")
	assert.Contains(t, said.String(), "kept, as measured of firn "+results[0].Commit+": "+results[0].Case)
}

// TestSmokeBesideKafka: with Kafka, there are ratios to judge.
func TestSmokeBesideKafka(t *testing.T) {
	if _, err := exec.LookPath("java"); err != nil {
		harness.Missing(t, "java is not installed on this machine")
	}
	out := t.TempDir()
	require.NoError(t, run(t.Context(), Options{
		Cases: regexp.MustCompile(`^a produce, 16 partitions, plain$`), Sides: regexp.MustCompile("page cache"), Alternations: 1,
		Round: time.Duration(harness.Count(500, 3000)) * time.Millisecond, Warm: int64(harness.Count(0, 1<<30)), Binary: firn(t), Out: out, Progress: progress{t}, Table: &bytes.Buffer{},
	}))
	f, err := report.Open(out)
	require.NoError(t, err)
	require.Len(t, f.Results(), 1)
	r := f.Results()[0]
	plausible(t, r)
	assert.Equal(t, []string{"firn page cache", "kafka page cache", "sink page cache"}, r.Sides)
	assert.ElementsMatch(t, []string{"firn flush", "kafka flush", "sink flush"}, r.LeftOut)
	outcomes := map[judge.Outcome]int{}
	for _, v := range r.Judge() {
		outcomes[v.Outcome]++
		if v.Outcome != judge.NotRun {
			assert.True(t, v.Trial)
			assert.Positive(t, v.Ratio.Median)
		}
	}
	assert.Equal(t, 6, outcomes[judge.NotRun], "those of flush mode, and that of both modes: %v", outcomes)
}

// plausible looks whether the figures of a case can be true.
func plausible(t *testing.T, r *judge.Result) {
	t.Helper()
	require.Empty(t, r.Error, r.Case)
	require.NotEmpty(t, r.Sides, r.Case)
	for _, side := range r.Sides {
		require.NotEmpty(t, r.Rounds[side], "%s: %s", r.Case, side)
		for _, f := range r.Rounds[side] {
			where := r.Case + ": " + side
			assert.Positive(t, f[judge.CPUPercent], where)
			assert.Positive(t, f[judge.PeakMB], where)
			assert.Positive(t, f[judge.P50], where)
			assert.GreaterOrEqual(t, f[judge.P999], f[judge.P99], where)
			switch r.Case[0] {
			case 'a':
				assert.Positive(t, f[judge.MBPerSecond], where)
				assert.Positive(t, f[judge.CPUPerGB], where)
				assert.Greater(t, f[judge.WrittenPerByte], 0.1, where)
				assert.Less(t, f[judge.WrittenPerByte], 4.0, where)
			case 'c':
				assert.Positive(t, f[judge.MBPerSecond], where)
				assert.Less(t, f[judge.WrittenPerByte], 0.1, where)
			case 'b', 'd':
				assert.Greater(t, f[judge.WrittenPerByte], 0.1, where)
				for _, k := range []judge.Figure{judge.CPUPerRequest, judge.CPUPerGB, judge.ClientCPU, judge.SwitchesPerMB, judge.SyscallsPerMB} {
					assert.Positive(t, f[k], "%s: %s", where, k)
				}
			}
			switch {
			case r.Case[0] != 'd':
			case strings.HasPrefix(side, "sink"): // which nobody reads from
				assert.NotContains(t, f, judge.EndToEnd50, where)
			default:
				assert.Positive(t, f[judge.EndToEnd50], where)
			}
		}
	}
}

// progress sends lines to a test's log.
type progress struct{ t *testing.T }

func (p progress) Write(b []byte) (int, error) {
	p.t.Log(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// TestVersionOfGivenBinary: results name what was measured, and what is no firn is refused.
func TestVersionOfGivenBinary(t *testing.T) {
	version, err := versionOf(firn(t))
	require.NoError(t, err)
	assert.Regexp(t, `^\S+ \([0-9a-z]{7,12}\)$`, version)
	fake := filepath.Join(t.TempDir(), "firn")
	for text, want := range map[string]string{
		"echo firn 0.3.0; echo commit 0123456789abcdef0123456789abcdef01234567; echo go1.26": "0.3.0 (0123456789ab)",
		"echo firn dev; echo commit unknown; echo go1.26":                                    "dev (unknown)",
	} {
		require.NoError(t, os.WriteFile(fake, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		version, err = versionOf(fake)
		require.NoError(t, err)
		assert.Equal(t, want, version)
	}
	for _, text := range []string{"exit 3", "echo 17.0.1", "echo firn 0.3.0"} {
		require.NoError(t, os.WriteFile(fake, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
		_, err := versionOf(fake)
		require.ErrorContains(t, err, "-firn", text)
	}
}

// TestInterrupted: a run that is cut short says so, and does the case again when it is resumed.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out := t.TempDir()
	o := Options{Cases: regexp.MustCompile("^b small"), Sides: regexp.MustCompile("^firn page"), Alternations: 1, Round: time.Second,
		Binary: firn(t), Out: out, Progress: progress{t}, Table: &bytes.Buffer{}}
	require.ErrorContains(t, run(ctx, o), "interrupted")
	f, err := report.Open(out)
	require.NoError(t, err)
	require.Len(t, f.Results(), 1)
	_, has := f.Has(f.Results()[0].Case, 0, 0)
	assert.False(t, has)
}

// TestCaseFails: a case that fails is told at the end, leaves what it measured, and does not stop the run.
func TestCaseFails(t *testing.T) {
	b := testBench(t, Options{Alternations: 3, Round: time.Millisecond, Progress: progress{t}})
	n := 0
	cleaned := false
	r, err := b.runCase(t.Context(), Case{Name: "x", Cold: true, Prepare: func(context.Context, *Bench) ([]Side, error) {
		b.Cleanup(func() error { cleaned = true; return nil })
		return []Side{{Name: "s", Round: func(context.Context, time.Duration) (Figures, error) {
			if n++; n == 2 {
				return nil, errors.New("the second does not go")
			}
			return Figures{judge.Seconds: 1}, nil
		}}}, nil
	}})
	require.ErrorContains(t, err, "s, alternation 2: the second does not go")
	assert.Len(t, r.Rounds["s"], 1)
	require.NoError(t, b.Close())
	assert.True(t, cleaned)
	_, err = os.Stat(b.dir)
	assert.ErrorIs(t, err, os.ErrNotExist)
}
