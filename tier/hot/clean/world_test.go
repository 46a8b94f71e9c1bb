package clean

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

const startMs = 1_700_000_000_000

type clock struct{ ms int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.ms) }

func part(i int32) topic.Partition {
	return topic.Partition{ID: topic.ID{7, 1}, Topic: "t", Index: i}
}

func openDir(t testing.TB, fsys disk.FS, path, boot string, c *clock, log *slog.Logger) *hot.Dir {
	t.Helper()
	d, err := hot.OpenDir(hot.Options{FS: fsys, Path: path, Now: c.now, BootID: boot, Housekeep: -1, Logger: log})
	require.NoError(t, err)
	return d
}

func openLog(t testing.TB, d *hot.Dir, i int32, change func(*hot.Config)) *hot.Log {
	t.Helper()
	cfg := hot.DefaultConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.TimestampAfterMaxMs, cfg.FileDeleteDelayMs = 4000, 500, hot.Forever, 0
	if change != nil {
		change(&cfg)
	}
	l, err := d.Open(part(i), &cfg)
	require.NoError(t, err)
	return l
}

// put appends a batch as the broker itself does, without a client's checks.
func put(t testing.TB, l *hot.Log, b []byte, now int64, check bool) hot.Appended {
	t.Helper()
	h, err := record.CheckStored(b)
	require.NoError(t, err)
	a, err := l.Append(b, []record.Header{h}, hot.AppendOptions{Now: now, Check: check})
	require.NoError(t, err)
	return a
}

// stored is a batch with its records as it lies in a log.
type stored struct {
	record.Header
	records []entry
}

type entry struct {
	offset, ts int64
	key, value []byte
	text       string
}

// read returns all batches from the local start on, and fails if reads do not get on (I-17).
func read(t testing.TB, l *hot.Log) []stored {
	t.Helper()
	var out []stored
	for at := l.LocalStart(); at < l.End(); {
		d, err := l.Read(at, l.End(), 5000, true)
		require.NoError(t, err)
		require.Greater(t, d.Next, at, "reads do not get on at %d", at)
		next := d.Next
		d.Release()
		b, err := l.ReadBytes(at, l.End(), 5000)
		require.NoError(t, err)
		for it := record.Batches(b); it.Next(); {
			h, err := record.CheckStored(it.Bytes())
			require.NoError(t, err)
			s := stored{Header: h}
			require.NoError(t, record.Records(it.Bytes(), 1<<20, func(_ int, r *record.Record) error {
				s.records = append(s.records, newEntry(&h, r))
				return nil
			}))
			require.Greater(t, h.NextOffset(), at)
			out = append(out, s)
		}
		at = next
	}
	return out
}

func newEntry(h *record.Header, r *record.Record) entry {
	e := entry{offset: h.Offset(r), ts: h.Timestamp(r), key: bytes.Clone(r.Key), value: bytes.Clone(r.Value)}
	e.text = fmt.Sprintf("record %d %d %s %s", e.offset, e.ts, hex(r.Key), hex(r.Value))
	for _, rh := range r.Headers {
		e.text += fmt.Sprintf(" %s=%s", rh.Key, hex(rh.Value))
	}
	return e
}

func hex(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("x%x", b)
}

func (s *stored) text() string {
	horizon := "-"
	if ms, ok := s.DeleteHorizon(); ok {
		horizon = fmt.Sprint(ms)
	}
	codec := s.Codec().String()
	if s.Count == 0 {
		codec = "-"
	}
	return fmt.Sprintf("batch %d %d %d %s %d %d %d %t %t %d %s", s.BaseOffset, s.LastOffset(), s.Count, horizon,
		s.ProducerID, s.ProducerEpoch, s.BaseSequence, s.IsTransactional(), s.IsControl(), s.MaxTimestamp, codec)
}

func always(p Policy) func(topic.Partition) (Policy, bool) {
	return func(topic.Partition) (Policy, bool) { return p, true }
}
