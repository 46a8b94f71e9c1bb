// Package archivetest has stand-ins for the neighbours of the archive's packages in tests: a partition's log in
// memory and the ledgers of a cluster, with the faults that matter. Nothing in it is for production.
package archivetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

// Ledgers keeps ledgers in memory. Safe for concurrent use.
type Ledgers struct {
	mu  sync.Mutex
	all map[topic.Partition]*ledger.Ledger
	// Before, when set, is called without locks before an edit is applied: an error refuses it, and ErrAfter applies
	// it and then loses the answer.
	Before func(p topic.Partition, e ledger.Edit) error
	// Edits counts the edits that were applied, by kind.
	Edits map[string]int
}

// ErrAfter makes CommitLedger apply the edit and answer with an error.
var ErrAfter = errors.New("the answer was lost")

// NewLedgers gives an empty set.
func NewLedgers() *Ledgers {
	return &Ledgers{all: map[topic.Partition]*ledger.Ledger{}, Edits: map[string]int{}}
}

// CachedLedger implements upload.Ledgers.
func (l *Ledgers) CachedLedger(p topic.Partition) *ledger.Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.all[p]; x != nil {
		return x
	}
	return &ledger.Ledger{Topic: p.ID, Index: p.Index}
}

// Ledger implements upload.Ledgers.
func (l *Ledgers) Ledger(ctx context.Context, p topic.Partition) (*ledger.Ledger, error) {
	return l.CachedLedger(p), ctx.Err()
}

// CommitLedger implements upload.Ledgers.
func (l *Ledgers) CommitLedger(ctx context.Context, p topic.Partition, e ledger.Edit) (*ledger.Ledger, error) {
	var lost error
	if l.Before != nil {
		if lost = l.Before(p, e); lost != nil && !errors.Is(lost, ErrAfter) {
			return nil, lost
		}
	}
	old := l.CachedLedger(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.all[p]; x != nil {
		old = x
	}
	n, err := old.Apply(e)
	if err != nil {
		return nil, err
	}
	if n != old {
		l.Edits[e.Kind()]++
	}
	l.all[p] = n
	return n, lost
}

// Count gives how often edits of a kind were applied.
func (l *Ledgers) Count(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Edits[kind]
}

// Log is a partition's log in memory: an upload.Source. Safe for concurrent use.
type Log struct {
	p topic.Partition

	mu         sync.Mutex
	cfg        upload.Config
	epoch      int32
	stable     int64 // -1: the end
	logStart   int64
	localStart int64
	archivedTo int64
	batches    []batch // from localStart on
	everything []byte  // all batches ever appended
	next       int64
	sinceMs    int64
	// OnArchived, when set, is called with each value; Trim makes Archived drop what it may.
	OnArchived func(to int64)
	Trim       bool
}

type batch struct {
	base, next int64
	b          []byte
}

// NewLog gives an empty log that leads at epoch 1.
func NewLog(p topic.Partition, cfg upload.Config) *Log {
	return &Log{p: p, cfg: cfg, epoch: 1, stable: -1}
}

// Append adds a batch with n records of about size random bytes each, at time ts, and gives its base offset.
func (l *Log) Append(rnd *rand.Rand, n, size int, ts int64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := record.NewBuilder(record.None).LeaderEpoch(max(l.epoch, 0))
	for i := range n {
		v := make([]byte, size)
		for j := range v {
			v[j] = byte(rnd.Uint32())
		}
		b.Append(ts+int64(i), fmt.Appendf(nil, "k%d", l.next+int64(i)), v, nil)
	}
	raw := b.Build(l.next)
	record.Stamp(raw, l.next, max(l.epoch, 0))
	base := l.next
	l.batches = append(l.batches, batch{base, base + int64(n), raw})
	l.everything = append(l.everything, raw...)
	l.next += int64(n)
	return base
}

// Everything is every batch ever appended, one after the other.
func (l *Log) Everything() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.everything
}

// End is the log end offset.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// ArchivedTo is the greatest offset that Archived was called with.
func (l *Log) ArchivedTo() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.archivedTo
}

// Set changes what the Source answers: the leader epoch, the last stable offset (-1: the end), the log start.
func (l *Log) Set(epoch int32, stable, logStart int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.stable, l.logStart = epoch, stable, logStart
}

// SetConfig replaces the configuration.
func (l *Log) SetConfig(c upload.Config) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg = c
}

// SetSince sets what PendingSince answers; 0: unknown.
func (l *Log) SetSince(ms int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sinceMs = ms
}

// TrimTo drops batches wholly below offset.
func (l *Log) TrimTo(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim(offset)
}

func (l *Log) trim(offset int64) {
	for len(l.batches) > 0 && l.batches[0].next <= offset {
		l.localStart = l.batches[0].next
		l.batches = l.batches[1:]
	}
}

// Partition implements upload.Source, as do all that follow.
func (l *Log) Partition() topic.Partition { return l.p }

// Epoch implements upload.Source.
func (l *Log) Epoch() int32 { l.mu.Lock(); defer l.mu.Unlock(); return l.epoch }

// LogStart implements upload.Source.
func (l *Log) LogStart() int64 { l.mu.Lock(); defer l.mu.Unlock(); return l.logStart }

// LocalStart implements upload.Source.
func (l *Log) LocalStart() int64 { l.mu.Lock(); defer l.mu.Unlock(); return l.localStart }

// Config implements upload.Source.
func (l *Log) Config() upload.Config { l.mu.Lock(); defer l.mu.Unlock(); return l.cfg }

// Stable implements upload.Source.
func (l *Log) Stable() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stable >= 0 {
		return l.stable
	}
	return l.next
}

// Read implements upload.Source.
func (l *Log) Read(off, limit int64, max int) (upload.Batches, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off < l.localStart {
		return upload.Batches{}, fmt.Errorf("offset %d was trimmed, the log begins at %d", off, l.localStart)
	}
	var out []byte
	for _, b := range l.batches {
		if b.next <= off {
			continue
		}
		if b.next > limit || len(out) > 0 && len(out)+len(b.b) > max {
			break
		}
		out = append(out, b.b...)
	}
	return upload.Batches{Regions: []disk.Region{{Bytes: out}}, Bytes: len(out)}, nil
}

// PendingBytes implements upload.Source.
func (l *Log) PendingBytes(from int64) (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.batches {
		if b.next > from {
			n += int64(len(b.b))
		}
	}
	return n
}

// PendingSince implements upload.Source.
func (l *Log) PendingSince(int64) (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sinceMs, l.sinceMs > 0
}

// ProducersAt implements upload.Source with one producer that wrote up to off.
func (l *Log) ProducersAt(off int64) ([]upload.ProducerEntry, error) {
	return []upload.ProducerEntry{{ID: 7, Epoch: 0, CoordinatorEpoch: -1, CurrentTxnFirstOffset: -1,
		Batches: []segment.ProducerBatch{{FirstSeq: 0, LastSeq: int32(off - 1), LastOffset: off - 1}}}}, nil
}

// Epochs implements upload.Source.
func (l *Log) Epochs() []upload.EpochEntry { return []upload.EpochEntry{{Epoch: 1, Start: 0}} }

// AbortedTxns implements upload.Source.
func (l *Log) AbortedTxns(int64, int64) ([]upload.AbortedTxn, error) { return nil, nil }

// Archived implements upload.Source.
func (l *Log) Archived(to int64) {
	if l.OnArchived != nil {
		l.OnArchived(to)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.archivedTo = max(l.archivedTo, to)
	if l.Trim {
		l.trim(to)
	}
}
