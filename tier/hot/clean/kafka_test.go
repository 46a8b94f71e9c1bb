package clean

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/internal/kafkajars"
	"github.com/firnlog/firn/tier/record"
)

// traffic appends batches of all kinds: codecs, tombstones, records without key, headers, idempotent and transactional
// producers, LogAppendTime.
func traffic(t *testing.T, l *hot.Log, rng *rand.Rand, batches int) {
	codecs := []record.Codec{record.None, record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}
	now := int64(startMs)
	seqs, open := map[int64]int32{}, map[int64]bool{}
	end := func(pid int64) {
		kind := record.ControlCommit
		if rng.IntN(2) == 0 {
			kind = record.ControlAbort
		}
		put(t, l, record.EndTxnMarker(0, now, pid, 0, kind, 1), now, false)
		delete(open, pid)
	}
	for range batches {
		now += int64(rng.IntN(100))
		b := record.NewBuilder(codecs[rng.IntN(len(codecs))])
		n := 1 + rng.IntN(6)
		kind := rng.IntN(4)
		if pid := int64(10*kind + rng.IntN(3)); kind > 0 {
			b.Producer(pid, 0, seqs[pid])
			seqs[pid] += int32(n)
			if kind == 3 {
				b.Transactional()
				open[pid] = true
			}
		}
		for i := range n {
			key, value := []byte(fmt.Sprint("key-", rng.IntN(30))), []byte(strings.Repeat("value ", rng.IntN(20)))
			var headers []record.RecordHeader
			switch rng.IntN(12) {
			case 0, 1:
				value = nil
			case 2:
				headers = []record.RecordHeader{{Key: "h", Value: []byte("v")}, {Key: "null"}}
			case 3:
				if rng.IntN(4) == 0 {
					key = nil
				}
			}
			b.Append(now+int64(i*rng.IntN(5)), key, value, headers)
		}
		batch := b.Build(0)
		if rng.IntN(8) == 0 {
			record.StampLogAppendTime(batch, now)
		}
		put(t, l, batch, now, false)
		for pid := range open {
			if rng.IntN(6) == 0 {
				end(pid)
				break
			}
		}
	}
	for pid := range open {
		end(pid)
	}
	require.NoError(t, l.Roll())
	put(t, l, record.NewBuilder(record.None).Append(now, []byte("last"), []byte("v"), nil).Build(0), now, false)
	require.NoError(t, l.Sync())
}

// TestAsKafka gives the same folders to Apache Kafka's cleaner and to this one, round by round: the same batches and
// records are left, with the same timestamps, headers, sequences and delete horizons. The one difference is what the
// package comment says: the last batch of a segment stays, without records.
func TestAsKafka(t *testing.T) {
	libs := kafkajars.Dir(t, "kafka-storage")
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	const retention = 1000
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			buffer := 1 << 20
			if seed%2 == 1 {
				buffer = slotBytes * (10 + int(seed)*3) // the keys do not fit at once
			}
			c := &clock{ms: startMs}
			dir := t.TempDir()
			d := openDir(t, disk.OS(), dir, "boot", c, slog.New(slog.DiscardHandler))
			l := openLog(t, d, 0, nil)
			traffic(t, l, rng, 300)
			theirs := filepath.Join(t.TempDir(), "t-0")
			require.NoError(t, os.MkdirAll(theirs, 0o755))
			logs, err := filepath.Glob(filepath.Join(l.Folder(), "*.log"))
			require.NoError(t, err)
			for _, f := range logs {
				b, err := os.ReadFile(f)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(theirs, filepath.Base(f)), b, 0o644))
			}
			segs := l.Segments()
			active := segs[len(segs)-1].Base
			cleaner := New(Options{Dir: d, Policy: always(Policy{Compact: true, DeleteRetentionMs: retention}),
				Tuning: Tuning{DedupeBuffer: int64(buffer), IOBuffer: 2000}, Now: c.now})
			w := <-cleaner.workers
			rounds := []string{}
			var ours [][]stored
			dirty := int64(0)
			round := func(from, to, now int64) {
				segs := l.Segments()
				to = segmentOf(segs, max(from, to))
				c.ms = now
				r, err := w.clean(context.Background(), &job{log: l, plan: Plan{FirstDirty: from, Uncleanable: to},
					policy: Policy{DeleteRetentionMs: retention}, now: now})
				require.NoError(t, err)
				dirty = r.to
				rounds = append(rounds, fmt.Sprintf("%d:%d:%d", from, to, now))
				ours = append(ours, read(t, l))
			}
			now := int64(startMs + 1_000_000)
			round(0, segs[len(segs)/2].Base, now)
			for i := int64(1); dirty < active && i < 100; i++ {
				round(dirty, active, now+i)
			}
			for i := range int64(4) {
				round(0, active, now+(i+1)*(retention+200))
			}
			kafka := func(folder string, rounds []string) []string {
				args := append([]string{"-Xmx512m", "-cp", libs + "/*", "testdata/Clean.java", folder, "4000",
					fmt.Sprint(retention), fmt.Sprint(buffer)}, rounds...)
				cmd := exec.Command("java", args...)
				var stderr strings.Builder
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				require.NoError(t, err, stderr.String())
				return strings.Split(string(out), "round ")[1:]
			}
			parts := kafka(theirs, rounds)
			require.Len(t, parts, len(rounds))
			left := 0
			for i, p := range parts {
				compare(t, strings.Split(strings.TrimSpace(p), "\n"), ours[i])
				left = len(ours[i])
			}
			require.Less(t, left, len(ours[0]), "nothing was cleaned")
			require.NoError(t, d.Close())
			if seed > 0 {
				return
			}
			// Kafka can read what we left, and finds nothing to clean in it but the ends of segments.
			again := kafka(l.Folder(), rounds[len(rounds)-1:])
			require.Equal(t, strings.Split(parts[len(parts)-1], "\n")[1:], strings.Split(again[0], "\n")[1:])
		})
	}
}

// compare holds what is left against what Kafka printed.
func compare(t *testing.T, kafka []string, ours []stored) {
	name, kafka := kafka[0], kafka[1:]
	for _, s := range ours {
		lines := []string{s.text()}
		for _, r := range s.records {
			lines = append(lines, r.text)
		}
		if s.Count == 0 && (len(kafka) == 0 || kafka[0] != lines[0]) {
			continue // the end of a segment
		}
		n := min(len(kafka), len(lines))
		require.Equal(t, kafka[:n], lines, "round %s", name)
		kafka = kafka[n:]
	}
	require.Empty(t, kafka, "round %s: these are missing", name)
}
