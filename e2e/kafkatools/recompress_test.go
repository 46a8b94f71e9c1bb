package kafkatools

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

// TestRecompression changes a topic's compression.type while batches of every codec come in. Kafka's consumer reads all of
// it, and its checker finds each batch in the files as the topic wanted it at the time.
func TestRecompression(t *testing.T) {
	const each = 50 // records of one codec
	k := &bench{shell: javatools.NewShell(t), b: harness.Start(t, harness.Options{})}
	k.b.MustRun("", "topic", "create", "again", "-p", "1", "-c", "remote.storage.enable=false")
	kinds := []string{"gzip,compression.gzip.level=9", "snappy", "lz4,compression.lz4.level=17", "zstd,compression.zstd.level=-3", "uncompressed"}
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	n := 0
	for _, kind := range kinds {
		code, out := k.call(t, "", "configs --alter --entity-type topics --entity-name again --add-config compression.type="+kind)
		require.Equal(t, 0, code, out)
		for _, codec := range codecs {
			var lines strings.Builder
			for range each {
				fmt.Fprintf(&lines, "key%d\tvalue %d of many many many many\n", n, n)
				n++
			}
			k.b.MustRun(lines.String(), "produce", "again", "--format", "key-value", "--compression", codec)
		}
	}
	code, out := k.call(t, "", fmt.Sprintf("console-consumer --topic again --from-beginning --max-messages %d --timeout-ms 60000 --formatter-property print.offset=true", n))
	require.Equal(t, 0, code, out)
	for i := range n {
		require.Contains(t, out, fmt.Sprintf("Offset:%d value %d of", i, i))
	}
	k.b.Stop()

	logs, err := filepath.Glob(filepath.Join(findPartition(t, k.b.Options.Data, "again-0"), "*.log"))
	require.NoError(t, err)
	require.Len(t, logs, 1)
	out = k.shell.Must(t, "", dumpLog, "--deep-iteration", "--print-data-log", "--files", logs[0])
	require.NotContains(t, out, "isvalid: false")
	require.Equal(t, n, strings.Count(out, "| offset: "))
	found := regexp.MustCompile(`baseOffset: (\d+) .*compresscodec: (\w+)`).FindAllStringSubmatch(out, -1)
	require.GreaterOrEqual(t, len(found), len(kinds)*len(codecs))
	for _, batch := range found {
		base, err := strconv.Atoi(batch[1])
		require.NoError(t, err)
		want, _, _ := strings.Cut(strings.Replace(kinds[base/(each*len(codecs))], "uncompressed", "none", 1), ",")
		require.Equal(t, want, strings.ToLower(batch[2]), batch[0])
	}
}
