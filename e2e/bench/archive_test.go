package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/bench/internal/report"
	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/tier/object/objecttest"
)

// smoke runs cases with few bytes and short rounds and gives their results by name.
func smoke(t *testing.T, cases, sides string) map[string]*judge.Result {
	t.Helper()
	out := t.TempDir()
	require.NoError(t, run(t.Context(), Options{
		Cases: regexp.MustCompile(cases), Sides: regexp.MustCompile(sides), Alternations: 1, Binary: firn(t),
		Round: time.Duration(harness.Count(200, 2000)) * time.Millisecond, Bytes: 8 << 20, Out: out, Progress: progress{t}, Table: &bytes.Buffer{},
	}))
	f, err := report.Open(out)
	require.NoError(t, err)
	all := map[string]*judge.Result{}
	for _, r := range f.Results() {
		require.Empty(t, r.Error, r.Case)
		all[r.Case] = r
	}
	return all
}

func needMinIO(t *testing.T) {
	t.Helper()
	if _, err := objecttest.MinIOBinary(); err != nil {
		harness.Missing(t, err.Error())
	}
}

// TestSmokeArchive: what is read comes from where the case says.
func TestSmokeArchive(t *testing.T) {
	needMinIO(t)
	cases, n := "^e .*6 partitions|^g ", 2
	if harness.Full() {
		cases, n = "^e .*(6 partitions|local)|^f |^g ", 4
	}
	all := smoke(t, cases, "firn|reader|GETs")
	require.Len(t, all, n)
	cold := all["e cold read, MinIO, 6 partitions"].Rounds
	require.Len(t, cold, 5)
	for side, rounds := range cold {
		f := rounds[0]
		assert.Positive(t, f[judge.MBPerSecond], side)
		switch side {
		case firnEmpty, readerEmpty:
			assert.InDelta(t, 1, f[judge.WrittenPerByte], 0.2, "%s fills its cache once", side)
		default:
			assert.Less(t, f[judge.WrittenPerByte], 0.2, "%s fills nothing", side)
		}
	}
	archived := all["g upload keeps pace with produce"].Rounds
	assert.Positive(t, archived[upload][0][Behind])
	assert.Positive(t, archived[upload][0][Backlog])
	assert.Contains(t, archived[upload][0], UploadCPU)
	if !harness.Full() {
		return
	}
	assert.Len(t, all["e cold read, local files, 1 partition"].Rounds, 2)
	replay := all["f produce at 50 MB/s while two consumers replay the archive"].Rounds
	assert.Zero(t, replay[alone][0][ReplayMB])
	assert.Positive(t, replay[withReplays][0][ReplayMB])
	assert.Positive(t, replay[besideReader][0][ReplayMB])
	for side, rounds := range replay {
		assert.Positive(t, rounds[0][judge.P99], side)
		assert.Positive(t, rounds[0][judge.MBPerSecond], side)
	}
}

// TestWarmCacheHoldsAll: the warm side reads nothing from the archive even where firn's own cache is too small for it, and
// the empty side has that cache again.
func TestWarmCacheHoldsAll(t *testing.T) {
	const small = 1 << 20
	b, err := newBench(Options{Binary: firn(t), Progress: progress{t}})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	s, err := b.StartFirn(t.Context(), FirnOptions{Args: []string{"--set", fmt.Sprintf("firn.remote.cache.bytes=%d", small)}})
	require.NoError(t, err)
	batches, err := largeBatches("plain", 4)
	require.NoError(t, err)
	set, err := b.fillCold(t.Context(), s, 1, 24<<20, batches)
	require.NoError(t, err)
	sides := b.cacheSides(firnEmpty, firnWarm, s, set)
	for range 2 {
		f, err := sides[1].Round(t.Context(), 100*time.Millisecond)
		require.NoError(t, err)
		assert.Less(t, f[judge.WrittenPerByte], 0.2, "nothing is fetched and cached again")
		assert.EqualValues(t, leastRoom, s.metric("firn_cold_cache_limit_bytes"))
		_, err = sides[0].Round(t.Context(), time.Millisecond)
		require.NoError(t, err)
		assert.EqualValues(t, small, s.metric("firn_cold_cache_limit_bytes"))
	}
}

// TestSmokeScale: starts, idling and recovery give what they should.
func TestSmokeScale(t *testing.T) {
	all := smoke(t, "^h |^i ", "^firn, (1 partition|killed|as after)")
	require.Len(t, all, 3)
	for side, rounds := range all["h start-up on a used folder"].Rounds {
		f := rounds[0]
		assert.Positive(t, f[Starts], side)
		assert.Greater(t, f[judge.PeakMB], 10.0, side)
		assert.Positive(t, f[judge.Seconds], side)
		assert.GreaterOrEqual(t, f[Slowest], f[judge.Seconds], side)
	}
	require.Len(t, all["h start-up on a used folder"].Rounds, 2)
	idle := all["h idle"].Rounds["firn, 1 partition"][0]
	assert.Greater(t, idle[RSS], 10.0)
	assert.Contains(t, idle, judge.CPUPercent)
	recovered := all["i recovery after kill -9"].Rounds
	require.Len(t, recovered, 2)
	for side, rounds := range recovered {
		assert.GreaterOrEqual(t, rounds[0][FirstFetch], rounds[0][judge.Seconds], side)
		assert.GreaterOrEqual(t, rounds[0][AllServed], rounds[0][FirstFetch], side)
		assert.Positive(t, rounds[0][ReplayedMB], side)
		assert.Positive(t, rounds[0][ReadMB], side)
		assert.Positive(t, rounds[0][AboveMB], side)
		assert.InDelta(t, 0, rounds[0][BeyondMB], beyondMost, side)
	}
}

// TestEndsOf: one partition that does not serve is one too few.
func TestEndsOf(t *testing.T) {
	b, err := newBench(Options{Binary: firn(t), Progress: progress{t}})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	s, err := b.StartFirn(t.Context(), FirnOptions{})
	require.NoError(t, err)
	for _, topic := range []string{"one", "two"} {
		require.NoError(t, s.CreateTopic(t.Context(), topic, 2, nil))
	}
	require.NoError(t, endsOf(s.Addr, map[string]int{"one": 2, "two": 2}))
	require.ErrorContains(t, endsOf(s.Addr, map[string]int{"one": 2, "two": 3}), "two-2")
}

// TestKafkaCold: Kafka's tiered storage serves what it no longer has among its local segments.
func TestKafkaCold(t *testing.T) {
	harness.Need(t, "java")
	b, err := newBench(Options{Bytes: 96 << 20, Progress: progress{t}})
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	batches, err := largeBatches("plain", 4)
	require.NoError(t, err)
	kafka, set, err := b.kafkaCold(context.Background(), batches)
	require.NoError(t, err)
	segments, err := filepath.Glob(filepath.Join(kafka.Logs, set.topics[0]+"-0", "*.log"))
	require.NoError(t, err)
	require.Len(t, segments, 1)
	got, err := set.read(context.Background(), kafka.Addr, 0)
	require.NoError(t, err)
	require.Greater(t, got.Bytes, b.Bytes*2/3)
	require.NoError(t, os.Remove(segments[0]), "none of what was read lies there")
}

func TestOnlySegment(t *testing.T) {
	dir := t.TempDir()
	put := func(name string) { require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644)) }
	put("00000000000000000000.log")
	_, err := onlySegment(dir)
	require.Error(t, err, "the first segment is not a rest")
	put("00000000000000000700.log")
	_, err = onlySegment(dir)
	require.Error(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "00000000000000000000.log")))
	put("00000000000000000700.index")
	at, err := onlySegment(dir)
	require.NoError(t, err)
	require.EqualValues(t, 700, at)
}
