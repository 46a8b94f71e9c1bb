package report

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/bench/internal/machine"
	"github.com/firnlog/firn/e2e/bench/internal/profile"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run with -update and look at the difference")
}

var someMachine = machine.Description{
	CPU: "A processor", Cores: 2, MemoryGB: 24.96, Kernel: "6.18.0", FileSystem: "ext4 (rw,relatime)", Device: "vda, [none] mq-deadline",
	Go: "1.26.0", Java: "17.0.18", Kafka: "4.3.1", Firn: "0123456789ab",
}

func someResults() []*judge.Result {
	flush := &judge.Result{
		Case: "a produce, 16 partitions, plain", About: "Records of 1 KiB.", Sides: []string{"firn flush", "kafka flush"}, LeftOut: []string{"sink flush", "sink page cache"}, SecondsARound: 10,
		Commit: "0123456789ab", Rounds: map[string][]judge.Figures{}, Fdatasync: &judge.Sync{P50: 0.0912, P99: 3.14},
		Stolen: []float64{0.012, 0.003, 0.0411, 0.01, 0.02, 0, 0.013, 0.014, 0.011}, Repeated: 2,
		Profiles: []judge.Profile{{Side: "firn flush", Groups: []profile.Share{{Name: "CRC", Percent: 60.04}, {Name: profile.Rest, Percent: 39.96}}, Text: "60.0%  CRC\n"},
			{Side: "firn", Samples: 59, Groups: []profile.Share{{Name: "CRC", Percent: 100}}, Text: "too few\n"}},
		Bars: []judge.Bar{
			{Figure: judge.CPUPerGB, Side: "firn flush", Beside: "kafka flush", AtMost: 0.6},
			{Figure: judge.MBPerSecond, Side: "firn flush", Beside: "kafka flush", AtLeast: 1.5, Device: true},
			{Figure: judge.MBPerSecond, Side: "firn flush", Beside: "kafka flush", AtLeast: 5, Device: true},
			{Figure: judge.CPUPerGB, Side: "firn flush", Beside: "sink flush", AtMost: 1.4},
			{Figure: judge.P99, Side: "firn flush", AtMost: 8, Own: true},
		},
	}
	for i := range 9 {
		x := float64(i)
		flush.Rounds["firn flush"] = append(flush.Rounds["firn flush"], judge.Figures{judge.MBPerSecond: 500 + 10*x, judge.CPUPerGB: 1.1 + x/100, judge.P99: 7.25})
		flush.Rounds["kafka flush"] = append(flush.Rounds["kafka flush"], judge.Figures{judge.MBPerSecond: 180 - x, judge.CPUPerGB: 2.6})
		flush.Device = append(flush.Device, 900+x)
	}
	start := &judge.Result{
		Case: "h start-up", About: "A used folder.", Sides: []string{"firn"}, SecondsARound: 10, Commit: "0123456789ab", Error: "it\nbroke", Stolen: []float64{0.07, 0.06}, Repeated: 1,
		Rounds: map[string][]judge.Figures{"firn": {{judge.Seconds: 0.31}, {judge.Seconds: 0.52}}},
		Bars:   []judge.Bar{{Figure: judge.Seconds, Side: "firn", AtMost: 0.5, Every: true}},
	}
	return []*judge.Result{flush, start}
}

func TestMarkdown(t *testing.T) {
	golden(t, "results.md", Markdown(someMachine, someResults()))
}

// TestSummaryCountsVerdicts: trials and what ended early are none, and bounds of the bench's own are apart.
func TestSummaryCountsVerdicts(t *testing.T) {
	of := func(n int, b judge.Bar) *judge.Result {
		b.Figure, b.Side = "MB", "firn"
		b.AtMost = cmp.Or(b.AtMost, 64)
		r := &judge.Result{Case: "x", SecondsARound: 10, Rounds: map[string][]judge.Figures{}, Bars: []judge.Bar{b}}
		for range n {
			r.Rounds["firn"] = append(r.Rounds["firn"], judge.Figures{"MB": 50})
		}
		return r
	}
	early, stolen := of(9, judge.Bar{}), of(9, judge.Bar{})
	early.Error, stolen.Stolen = "it was interrupted", []float64{0.06}
	got := summary([]*judge.Result{of(9, judge.Bar{}), stolen, of(8, judge.Bar{}), early, of(9, judge.Bar{Own: true}), of(8, judge.Bar{Own: true})})
	assert.Equal(t, "\n## Bars\n\nOf the bars that decide: 2 met; 1 of all 2 with more than 5% of CPU time stolen. "+
		"Of those of throughput, which are reported: none. Of those whose bound is the bench's own: 1 met. "+
		"Not counted, because of trials and of cases that ended early: 3.\n", got)
	got = summary([]*judge.Result{of(9, judge.Bar{}), stolen, of(9, judge.Bar{AtMost: 49})})
	assert.Contains(t, got, "2 met, 1 not met; 1 of all 3 with more than 5% of CPU time stolen.", "not 1 of those that are not met")
	got = summary([]*judge.Result{of(9, judge.Bar{}), of(9, judge.Bar{AtMost: 49}), of(8, judge.Bar{AtMost: 49})})
	assert.Contains(t, got, " early: 1.\n\nAll that are not met (median, middle half):\n\n- x: MB of firn ≤ 49: 50.0 (50.0–50.0), not met\n")
}

// TestWhatWasNotRunMissedNothing: bars of a side that was left out are counted, and are not among those that are not met.
func TestWhatWasNotRunMissedNothing(t *testing.T) {
	r := &judge.Result{Case: "x", SecondsARound: 10, Bars: []judge.Bar{{Figure: "MB", Side: "firn", AtMost: 64}}}
	got := summary([]*judge.Result{r})
	assert.Contains(t, got, "Of the bars that decide: 1 not run.")
	assert.NotContains(t, got, "not met")
}

// TestChapterNamesItsFirn: the head lists those of all cases.
func TestChapterNamesItsFirn(t *testing.T) {
	r := &judge.Result{Case: "x", SecondsARound: 10}
	assert.NotContains(t, chapter(r), "In this case")
	r.Commit = "0123456 (0123456789ab)"
	assert.Contains(t, chapter(r), "\nIn this case: firn 0123456.\n")
	r.Fdatasync = &judge.Sync{P50: 1, P99: 2}
	assert.Contains(t, chapter(r), "\nIn this case: firn 0123456; 4 KiB with fdatasync p50 1.00 ms, p99 2.00 ms.\n")
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	for _, r := range someResults() {
		require.NoError(t, Table(&out, r))
	}
	golden(t, "table.txt", out.String())
}

func TestPlots(t *testing.T) {
	for name, draw := range map[string]func([]*judge.Result) ([]byte, error){"bars": Bars, "cpu": CPU} {
		picture, err := draw(someResults())
		require.NoError(t, err)
		assert.Contains(t, string(picture), "firn flush", name)
		decoder := xml.NewDecoder(bytes.NewReader(picture))
		for err == nil {
			_, err = decoder.Token()
		}
		assert.True(t, errors.Is(err, io.EOF), "%s is well-formed: %v", name, err)
		_, err = draw(nil)
		require.NoError(t, err)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.00012: "0.00012", 0.0912: "0.091", 1.2345: "1.23", 12.345: "12.3", 123.45: "123", 45678: "45678", -2: "-2.00"} {
		assert.Equal(t, want, Number(v))
	}
}

// TestFolderResumes: what was measured is there again, but for what did not end and for what tells less; another machine's is
// not mixed in.
func TestFolderResumes(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(dir)
	require.NoError(t, err)
	require.NoError(t, f.Machine(someMachine))
	for _, r := range someResults() {
		require.NoError(t, f.Add(r))
	}
	f, err = Open(dir)
	require.NoError(t, err)
	has := func(name string, alternations int, round time.Duration) bool {
		commit, has := f.Has(name, alternations, round)
		assert.Equal(t, has, commit == "0123456789ab", name)
		return has
	}
	assert.True(t, has("a produce, 16 partitions, plain", 9, 10*time.Second))
	assert.False(t, has("a produce, 16 partitions, plain", 10, time.Second), "there were fewer alternations")
	assert.False(t, has("a produce, 16 partitions, plain", 1, 11*time.Second), "its rounds were shorter")
	assert.False(t, has("h start-up", 1, time.Second), "it ended early")
	assert.False(t, has("c", 0, 0))
	var table bytes.Buffer
	require.NoError(t, f.Write(&table))
	assert.Empty(t, table.String(), "only what this run measured is printed")
	text, err := os.ReadFile(filepath.Join(dir, "results.md"))
	require.NoError(t, err)
	assert.Equal(t, Markdown(someMachine, someResults()), string(text))
	text, err = os.ReadFile(filepath.Join(dir, "profiles", "a-produce-16-partitions-plain-firn-flush.txt"))
	require.NoError(t, err)
	assert.Equal(t, "a produce, 16 partitions, plain: firn flush\n60.0%  CRC\n", string(text))

	other := someMachine
	other.Cores = 64
	require.ErrorContains(t, f.Machine(other), "-out")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cases", "torn.json"), []byte("{"), 0o644))
	_, err = Open(dir)
	require.ErrorContains(t, err, "torn.json")
}

// TestJudgedByTodaysBars: a case that does what it did when it was measured gets the bars that it has by now.
func TestJudgedByTodaysBars(t *testing.T) {
	dir, was := t.TempDir(), someResults()[0]
	f, err := Open(dir)
	require.NoError(t, err)
	require.NoError(t, f.Add(someResults()[0]))
	require.NoError(t, f.Judge(was.Case, "Records of 2 KiB.", nil))
	require.NoError(t, f.Judge("another", was.About, nil))
	assert.Equal(t, was.Bars, f.Results()[0].Bars)
	now := []judge.Bar{{Figure: judge.P99, Side: "firn flush", AtMost: 7}}
	require.NoError(t, f.Judge(was.Case, was.About, now))
	f, err = Open(dir)
	require.NoError(t, err)
	assert.Equal(t, now, f.Results()[0].Bars)
	assert.Equal(t, was.Rounds, f.Results()[0].Rounds)
}

func TestCasesStandByNumber(t *testing.T) {
	assert.Negative(t, compare("a produce, 1 partition", "a produce, 16 partitions"))
	assert.Negative(t, compare("a produce, 16 partitions", "a produce, 256 partitions"))
	assert.Negative(t, compare("a x", "b x"))
	assert.Equal(t, "a-produce-16-partitions-zstd", slug("a produce, 16 partitions, zstd"))
}
