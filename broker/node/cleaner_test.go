package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/clean"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// TestCleanerIsTuned changes the cleaner's configs while it runs: it cleans on, its counters go on, and a partition that
// was set aside is not tried again.
func TestCleanerIsTuned(t *testing.T) {
	mem := disk.NewCrashable(1)
	d, err := hot.OpenDir(hot.Options{FS: mem, Path: "/log", BootID: "boot", Housekeep: -1, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	cfg := hot.DefaultConfig()
	cfg.SegmentBytes, cfg.FileDeleteDelayMs = 2000, 0
	open := func(index int32) *hot.Log {
		l, err := d.Open(topic.Partition{ID: topic.ID{1}, Topic: "t", Index: index}, &cfg)
		require.NoError(t, err)
		return l
	}
	fill := func(l *hot.Log) {
		for to := len(l.Segments()) + 4; len(l.Segments()) < to; {
			b := record.NewBuilder(record.None).Append(1, []byte(fmt.Sprint(l.End()%3)), make([]byte, 300), nil).Build(0)
			h, err := record.CheckStored(b)
			require.NoError(t, err)
			_, err = l.Append(b, []record.Header{h}, hot.AppendOptions{Now: 1})
			require.NoError(t, err)
		}
		require.NoError(t, l.Sync())
	}
	bad, good := open(0), open(1)
	fill(bad)
	fill(good)
	f, err := mem.OpenFile(filepath.Join(bad.Folder(), "00000000000000000000.log"), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("x"), 200)
	require.NoError(t, err)

	var log lines
	reg := prometheus.NewRegistry()
	want := values(t, conf{"log.cleaner.backoff.ms": "1"}).Cleaner
	k := &cleanerKeeper{changed: make(chan struct{}, 1), want: want, options: clean.Options{Dir: d, Registerer: reg,
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Policy: func(topic.Partition) (clean.Policy, bool) {
			return clean.Policy{Compact: true, MinDirtyRatio: 0.1, MaxLagMs: hot.Forever}, true
		}}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.run(ctx) }()
	cleanedMore := func(than float64) bool {
		return gathered(t, reg, "firn_clean_freed_bytes_total") > than && gathered(t, reg, "firn_clean_uncleanable_partitions") == 1
	}
	require.Eventually(t, func() bool { return cleanedMore(0) }, time.Minute, time.Millisecond)
	freed := gathered(t, reg, "firn_clean_freed_bytes_total")

	want.Enable = false
	k.set(want)
	require.Eventually(t, func() bool { return len(k.changed) == 0 }, time.Minute, time.Millisecond)
	want.Enable, want.Threads, want.IOBuffer = true, 2, 1<<20
	k.set(want)
	fill(good)
	require.Eventually(t, func() bool { return cleanedMore(freed) }, time.Minute, time.Millisecond)
	cancel()
	<-done
	require.Equal(t, 1, log.count("set aside"), log.text())
	require.NoError(t, d.Close())
}

// lines is a log that is written to meanwhile.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *lines) count(of string) int { return bytes.Count([]byte(l.text()), []byte(of)) }
