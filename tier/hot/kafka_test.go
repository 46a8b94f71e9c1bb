package hot

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/internal/kafkajars"
	"github.com/firnlog/firn/tier/record"
)

// TestDumpLogSegments lets Kafka's own tool check files that were written, rolled, crashed, recovered and closed here.
func TestDumpLogSegments(t *testing.T) {
	libs := kafkajars.Dir(t, "kafka-tools")
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	d := openDir(t, disk.OS(), dir)
	change := func(c *Config) { c.SegmentBytes = 60_000; c.IndexIntervalBytes = 2000 }
	codecs := []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}
	seq := int32(0)
	fill := func(l *Log, n int) {
		for i := range n {
			b := record.NewBuilder(codecs[i%len(codecs)])
			count := 1 + rng.IntN(20)
			if i%3 == 0 {
				b.Producer(9, 0, seq)
				seq += int32(count)
			}
			for range count {
				// Records are not in order of time, and times repeat.
				b.Append(startMs+int64(i/4)*10+int64(rng.IntN(40)), []byte("key"),
					[]byte(strings.Repeat("value ", 1+rng.IntN(30))), nil)
			}
			appendTo(t, l, b.Build(0))
		}
	}
	l := d.open(0, change)
	require.NoError(t, l.Make())
	appendTo(t, l, batch(1, 10, startMs))
	require.NoError(t, l.snapshotProducers()) // of nobody
	fill(l, 150)
	require.NoError(t, l.snapshotProducers())
	require.NoError(t, l.Roll())
	fill(l, 60)
	require.NoError(t, d.Close())

	d = openDir(t, disk.OS(), dir)
	l = d.open(0, change)
	fill(l, 40)
	require.NoError(t, l.Flush())
	name := l.active().file.path()
	require.NoError(t, d.lock.Close()) // the process dies in the middle of a write
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.WriteString("torn")
	require.NoError(t, err)
	require.NoError(t, f.Close())

	d = openDir(t, disk.OS(), dir)
	l = d.open(0, change)
	fill(l, 130)
	require.Greater(t, len(l.Segments()), 3)
	end := l.End()
	require.NoError(t, d.Close())

	var files []string
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, snapshotSuffix} {
		found, err := filepath.Glob(filepath.Join(dir, "t-0", "*"+suffix))
		require.NoError(t, err)
		require.NotEmpty(t, found, suffix)
		files = append(files, found...)
	}
	for _, args := range [][]string{{"--deep-iteration", "--print-data-log"}, {"--verify-index-only"}, {"--index-sanity-check"}} {
		args = append([]string{"-cp", libs + "/*", "org.apache.kafka.tools.DumpLogSegments", "--files",
			strings.Join(files, ",")}, args...)
		out, err := exec.Command("java", args...).CombinedOutput()
		require.NoError(t, err, string(out))
		// To the tool the offset before the first of any segment is -1, so of one that does not begin at 0 it says that -1 is
		// followed by the base offset.
		text := regexp.MustCompile(`Non-consecutive offsets in \S*/0*(\d+)\.log\n  -1 is followed by (\d+)\n`).
			ReplaceAllStringFunc(string(out), func(s string) string {
				f := strings.Fields(s)
				if base, ok := parseFileName(filepath.Base(f[3]), logSuffix); ok && fmt.Sprint(base) == f[8] {
					return ""
				}
				return s
			})
		for _, complaint := range []string{"Found ", "Mismatch", "mismatch", "Exception", "invalid", "isvalid: false",
			"Could not", "failed", "corrupt", "out of order", "Non-"} {
			for _, line := range strings.Split(text, "\n") {
				require.NotContains(t, line, complaint, "%v", args)
			}
		}
		if args[5] == "--deep-iteration" {
			require.Contains(t, string(out), fmt.Sprintf("offset: %d ", end-1))
		}
	}
}
