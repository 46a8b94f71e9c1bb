package compaction_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/compaction"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/archive/archivetest"
	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/fault"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

var modelSeeds = flag.Int("model.seeds", 12, "seeds of the model test")

// lossy is metadata whose commits sometimes lose their answer, before or after the edit went in (I-09).
type lossy struct {
	compaction.Metadata
	mu  sync.Mutex
	rnd *rand.Rand
	off bool
}

var errLost = errors.New("no answer from the metadata")

func (l *lossy) lose() (before, after bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off {
		return false, false
	}
	n := l.rnd.IntN(20)
	return n == 0, n == 1
}

func (l *lossy) CommitLedger(ctx context.Context, p topic.Partition, e ledger.Edit) (*ledger.Ledger, error) {
	before, after := l.lose()
	if before {
		return nil, errLost
	}
	n, err := l.Metadata.CommitLedger(ctx, p, e)
	if err == nil && after {
		return nil, errLost
	}
	return n, err
}

// sleepy suspends some uploaders after their object is stored, until the model wakes them: process suspended,
// network partitioned, machine swapped out.
type sleepy struct {
	object.Store
	w *world

	mu     sync.Mutex
	rnd    *rand.Rand
	off    bool
	asleep []chan struct{}
}

func (s *sleepy) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	info, err := s.Store.Put(ctx, key, body, size, o)
	s.mu.Lock()
	if s.off || s.rnd.IntN(3) > 0 {
		s.mu.Unlock()
		return info, err
	}
	bed := make(chan struct{})
	s.asleep = append(s.asleep, bed)
	s.mu.Unlock()
	select {
	case <-bed:
		return info, err
	case <-ctx.Done():
		return object.Info{}, ctx.Err()
	}
}

func (s *sleepy) wake(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = s.off || all
	for i, bed := range s.asleep {
		if all || i%2 == 0 {
			close(bed)
			s.asleep[i] = nil
		}
	}
	s.asleep = slices.DeleteFunc(s.asleep, func(c chan struct{}) bool { return c == nil })
}

// timed notes when objects were stored, by the test's clock, whatever the faults above it tell the caller.
type timed struct{ *clockedStore }

func (s timed) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	info, err := s.clockedStore.Put(ctx, key, body, size, o)
	if err == nil {
		s.note(key)
	}
	return info, err
}

// model is everything of one run.
type model struct {
	*world
	rnd    *rand.Rand
	bad    *fault.Store
	beds   *sleepy
	lost   *lossy
	up     *upload.Manager
	gc     *compaction.Collector
	logs   []*archivetest.Log
	topics int
	dead   []topic.Partition
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{world: newWorld(t), rnd: rand.New(rand.NewPCG(seed, 42))}
	r := fault.Rates{Error: .04, Throttle: .02, Ambiguous: .04, Truncate: .03, Shorten: .02, Flip: .03}
	m.bad = fault.New(timed{m.store}, fault.Options{Seed: seed, Rule: fault.Everywhere(r)})
	m.beds = &sleepy{Store: m.bad, w: m.world, rnd: rand.New(rand.NewPCG(seed, 7))}
	m.lost = &lossy{Metadata: m.meta, rnd: rand.New(rand.NewPCG(seed, 8))}
	m.opts.Store, m.opts.Meta = m.bad, m.lost
	m.opts.FoldAbove, m.opts.FoldKeep = 6, 2
	m.gc = m.collector()
	m.startUploads()
	for range 2 {
		m.addTopic()
	}
	return m
}

func (m *model) startUploads() {
	var err error
	m.up, err = upload.New(upload.Options{Store: m.beds, Ledgers: m.lost, Layout: m.layout(), SpoolDir: m.t.TempDir(), ChunkBytes: 1 << 10,
		Workers: 3, Settle: time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: 4 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler)})
	require.NoError(m.t, err)
	for i, old := range m.logs {
		m.logs[i] = old
		m.up.Add(old)
	}
}

func (m *model) addTopic() {
	m.topics++
	p := m.topic(fmt.Sprint("t", m.topics))
	l := archivetest.NewLog(p, upload.Config{Enabled: true, SegmentBytes: 2 << 10, MaxLagMs: 1})
	l.Set(0, -1, 0) // leads at epoch 0, as its topic says
	l.Trim = true
	m.logs = append(m.logs, l)
	m.up.Add(l)
}

// step does one thing at random.
func (m *model) step() string {
	l := m.logs[m.rnd.IntN(len(m.logs))]
	p := l.Partition()
	switch n := m.rnd.IntN(100); {
	case n < 50:
		l.Append(m.rnd, 1+m.rnd.IntN(4), m.rnd.IntN(300), m.clock.Now().UnixMilli())
		m.up.Notify(p)
		return "append"
	case n < 60:
		m.beds.wake(false)
		return "wake some uploaders"
	case n < 75:
		m.clock.advance(time.Duration(m.rnd.Int64N(int64(2 * grace))))
		_ = m.gc.Round(context.Background()) // faults are expected; the next round goes on
		return "collect"
	case n < 80:
		led := m.meta.CachedLedger(p)
		if led.Next > led.Start {
			to := led.Start + m.rnd.Int64N(led.Next-led.Start+1)
			_, _ = m.lost.CommitLedger(context.Background(), p, ledger.TrimStart{To: to})
		}
		return "delete records"
	case n < 84:
		m.gc = m.collector()
		return "crash of the collector"
	case n < 90:
		require.NoError(m.t, m.up.Close(context.Background(), false))
		m.startUploads()
		return "crash of the uploader"
	case n < 93 && len(m.logs) > 1:
		i := m.rnd.IntN(len(m.logs))
		p := m.logs[i].Partition()
		require.NoError(m.t, m.meta.Commit(context.Background(), metadata.DeleteTopic{ID: p.ID})[0])
		m.up.Remove(p)
		m.logs = slices.Delete(m.logs, i, i+1)
		m.dead = append(m.dead, p)
		m.addTopic()
		return "delete a topic, create another"
	default:
		time.Sleep(time.Duration(m.rnd.IntN(3)) * time.Millisecond) // lets the uploader get somewhere; nothing depends on it
		return "pass"
	}
}

// check holds every ledger against the bucket: no hole (I-07, I-10, I-11, I-19), nothing trimmed that is not there
// (I-12).
func (m *model) check(after string) {
	for _, l := range m.logs {
		p := l.Partition()
		local := l.LocalStart()
		led := m.meta.CachedLedger(p)
		require.NoError(m.t, led.Check(), after)
		require.LessOrEqual(m.t, local, led.Next, "%s: trimmed above the archive's end", after)
		for _, s := range m.segments(led) {
			require.True(m.t, m.has(s.Key), "%s: %s names %s, which is gone", after, p, s.Key)
		}
		for _, f := range led.Folds {
			require.True(m.t, m.has(f.Key), "%s: fold %s is gone", after, f.Key)
		}
	}
	require.Empty(m.t, m.gc.Distrust(), after)
}

func (m *model) segments(l *ledger.Ledger) (out []ledger.Segment) {
	for _, f := range l.Folds {
		segs, err := archive.Fold(context.Background(), m.store, f)
		require.NoError(m.t, err)
		out = append(out, segs...)
	}
	return append(out, l.Recent...)
}

// finish heals the world, lets everybody end their work, and holds bucket and ledgers against each other in both
// directions: no orphan after grace, every record readable.
func (m *model) finish() {
	ctx := context.Background()
	m.bad.SetOn(false)
	m.lost.mu.Lock()
	m.lost.off = true
	m.lost.mu.Unlock()
	m.beds.wake(true)
	require.NoError(m.t, m.up.Drain(ctx))
	require.NoError(m.t, m.up.Close(ctx, false))
	for range 4 {
		m.settle(m.gc)
	}
	m.clock.advance(8 * 24 * time.Hour)
	m.settle(m.gc)
	var named []string
	for _, l := range m.logs {
		led := m.meta.CachedLedger(l.Partition())
		for _, s := range m.segments(led) {
			named = append(named, s.Key)
		}
		for _, f := range led.Folds {
			named = append(named, f.Key)
		}
	}
	require.ElementsMatch(m.t, named, m.keys(), "no orphan after grace, no hole")
	require.Empty(m.t, m.meta.Image().Tombstones())

	r, err := cold.New(cold.Options{Store: m.store, CacheDir: m.t.TempDir(), CacheBytes: 8 << 10, GroupBytes: 2 << 10})
	require.NoError(m.t, err)
	defer r.Close()
	for _, l := range m.logs {
		m.readAll(r, l)
	}
}

// readAll reads an archived log from its start to its end and compares it with what was appended.
func (m *model) readAll(r *cold.Reader, l *archivetest.Log) {
	led := m.meta.CachedLedger(l.Partition())
	require.Equal(m.t, l.End(), led.Next, "all that was appended is archived")
	var got []byte
	first := int64(-1)
	for o := led.Start; o < led.Next; {
		d, err := r.Read(context.Background(), l.Partition(), led, o, 3000)
		require.NoError(m.t, err)
		if first < 0 {
			first = d.First
		}
		for _, reg := range d.Regions {
			b := make([]byte, reg.Length)
			_, err := reg.File.ReadAt(b, reg.Position)
			require.NoError(m.t, err)
			got = append(got, b...)
		}
		o = d.Next
		d.Release()
	}
	want := l.Everything()
	if first >= 0 {
		pos, ok := record.Find(want, first)
		require.True(m.t, ok)
		require.Equal(m.t, string(want[pos:]), string(got))
	}
}

// Appending, uploading, sleeping, crashing, trimming, deleting, folding and collecting in any interleaving, over a
// store and metadata that fail: no hole ever, no orphan in the end (I-07 to I-12, I-19, I-22 to I-25).
func TestModel(t *testing.T) {
	for seed := range uint64(*modelSeeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			m := newModel(t, seed)
			var last []string
			defer func() {
				if t.Failed() {
					t.Log("last steps: " + strings.Join(last, ", "))
				}
			}()
			for range 250 {
				did := m.step()
				last = append(last[max(0, len(last)-20):], did)
				m.check(did)
			}
			m.finish()
		})
	}
}
