package compaction

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/topic"
)

// putFold stores a fold under a fresh key and reads it back: once the ledger names it, the small keys that it
// stands for are gone.
func (c *Collector) putFold(ctx context.Context, p topic.Partition, version int64, segs []ledger.Segment) (ledger.FoldRef, error) {
	key := c.lay.FoldKey(p.ID, p.Index, segs[0].Base, version)
	ref, b, err := ledger.NewFold(key, ledger.FoldFile{ClusterID: c.lay.ClusterID, Generation: c.lay.Generation,
		Partition: p, LedgerVersion: version, Segments: segs})
	if err != nil {
		return ref, err
	}
	r := bytes.NewReader(b)
	if _, err := c.o.Store.Put(ctx, key, r, r.Size(), object.PutOptions{CRC32C: ref.CRC32C, HasCRC32C: true}); err != nil {
		return ref, err
	}
	if _, err := archive.Fold(ctx, c.o.Store, ref); err != nil {
		return ref, fmt.Errorf("read a new fold back: %w", err)
	}
	return ref, nil
}

const (
	keepFolds   = 16 // in memory; beyond that, those that were not used lately go
	foldsUnused = 10 * time.Minute
)

// loadFold reads a fold, or gives it from memory.
func (c *Collector) loadFold(ctx context.Context, ref ledger.FoldRef) ([]ledger.Segment, error) {
	if f, ok := c.folds[ref.Key]; ok {
		f.used = c.o.Now()
		c.folds[ref.Key] = f
		return f.segs, nil
	}
	segs, err := archive.Fold(ctx, c.o.Store, ref)
	if err != nil {
		return nil, err
	}
	if len(c.folds) < keepFolds {
		c.folds[ref.Key] = foldedSegs{segs, c.o.Now()}
	}
	return segs, nil
}

func (c *Collector) forgetFolds() {
	for k, f := range c.folds {
		if c.o.Now().Sub(f.used) > foldsUnused {
			delete(c.folds, k)
		}
	}
}
