package compaction

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/topic"
)

const (
	maxForeign  = 5 // names that are listed
	keepMarkers = 3
)

// claim reads what the bucket says of its owner, claims it if it is free, and judges it. An error means that the
// store or the metadata could not be asked: nothing is known, and nothing may be deleted.
func (c *Collector) claim(ctx context.Context) (distrust string, err error) {
	e, err := c.evidence(ctx)
	if err != nil {
		return "", err
	}
	reason, record := Judge(e)
	if e.Owner == nil && e.Bad == "" && !e.Lost && len(e.Others) == 0 && !c.manual.Load() {
		// Also with foreign names: they are written down, so that the next start knows what this one saw.
		if err := c.putOwner(ctx, e.Foreign); err != nil {
			return "", err
		}
	}
	if record {
		if err := c.record(ctx, reason); err != nil {
			return "", err
		}
	}
	return reason, nil
}

func (c *Collector) putOwner(ctx context.Context, foreign []string) error {
	o := Owner{Format: formatNumber, ClusterID: c.lay.ClusterID, Generation: c.lay.Generation,
		ClaimedAt: c.o.Now().UnixMilli(), Foreign: foreign}
	err := c.putSmall(ctx, c.lay.OwnerKey(), o, object.PutOptions{IfNoneMatch: true})
	switch {
	case errors.Is(err, object.ErrExists):
		return fmt.Errorf("%s was claimed by somebody else at this moment: %w", c.lay.OwnerKey(), err)
	case errors.Is(err, object.ErrNoCondition):
		c.manual.Store(true)
		return nil
	}
	return err
}

// record writes a reason for distrust into the bucket.
func (c *Collector) record(ctx context.Context, reason string) error {
	return c.putSmall(ctx, c.lay.DistrustKey(), Recorded{formatNumber, reason, c.o.Now().UnixMilli()}, object.PutOptions{})
}

// evidence collects what Judge wants to know.
func (c *Collector) evidence(ctx context.Context) (Evidence, error) {
	img := c.o.Meta.Image()
	e := Evidence{ClusterID: c.lay.ClusterID, Generation: c.lay.Generation, Revision: img.Revision}
	used := c.used(img) // before the bucket is looked at: what is committed by then is in it
	var o Owner
	switch found, err := c.get(ctx, c.lay.OwnerKey(), &o, &e); {
	case err != nil:
		return e, err
	case found:
		e.Owner = &o
	default:
		var own bool
		if own, e.Foreign, err = c.folders(ctx, "", c.lay.ClusterID); err != nil {
			return e, err
		}
		e.Lost = !own && used
		if own {
			if _, e.Others, err = c.folders(ctx, c.lay.ClusterPrefix(), c.lay.Generation); err != nil {
				return e, err
			}
		}
	}
	if err := c.recorded(ctx, &e); err != nil {
		return e, err
	}
	if err := c.newestMarker(ctx, &e); err != nil {
		return e, err
	}
	tombs, err := c.o.Meta.Tombstones(ctx)
	if err != nil {
		return e, err
	}
	e.Version = func(id topic.ID, partition int32) (int64, bool) {
		for _, t := range tombs {
			if t.ID == id {
				return 1<<63 - 1, true // its ledger ends with it, and is compared no more
			}
		}
		t := img.TopicByID(id)
		if t == nil || int(partition) >= len(t.Partitions) {
			return 0, false
		}
		return c.o.Meta.CachedLedger(t.Partition(partition)).Version, true
	}
	return e, nil
}

// get is getSmall for evidence.
func (c *Collector) get(ctx context.Context, key string, v any, e *Evidence) (found bool, err error) {
	bad := ""
	if found, err = c.getSmall(ctx, key, v, &bad); bad != "" && e.Bad == "" {
		e.Bad = bad
	}
	return found, err
}

// folders looks at what the bucket holds under prefix by the next component of its keys: whether own is there, and
// which others.
func (c *Collector) folders(ctx context.Context, prefix, own string) (found bool, others []string, err error) {
	for after := ""; len(others) < maxForeign; {
		key := ""
		err := c.o.Store.List(ctx, prefix, after, func(i object.Info) error {
			key = i.Key
			return object.ErrStop
		})
		if err != nil {
			return false, nil, err
		}
		if key == "" {
			break
		}
		name, _, folder := strings.Cut(key[len(prefix):], "/")
		switch {
		case name == own:
			found = true
		case strings.HasPrefix(name, "."): // what the stores keep for themselves
		case prefix == "" || folder:
			others = append(others, name)
		}
		if after = key; folder {
			after = prefix + name + "0" // '0' follows '/': beyond all keys of that folder
		}
	}
	return found, others, nil
}

func (c *Collector) recorded(ctx context.Context, e *Evidence) error {
	var keys []string
	err := c.o.Store.List(ctx, c.lay.DistrustPrefix(), "", func(i object.Info) error {
		keys = append(keys, i.Key)
		return nil
	})
	for _, k := range keys {
		var r Recorded
		if _, err := c.get(ctx, k, &r, e); err != nil {
			return err
		}
		e.Recorded = append(e.Recorded, r.Reason)
	}
	return err
}

func (c *Collector) newestMarker(ctx context.Context, e *Evidence) error {
	keys, err := c.markers(ctx)
	if err != nil || len(keys) == 0 {
		return err
	}
	var m Marker
	found, err := c.get(ctx, keys[len(keys)-1], &m, e)
	if found {
		e.Marker = &m
	}
	return err
}

// markers lists the keys of all markers, oldest first.
func (c *Collector) markers(ctx context.Context) (keys []string, err error) {
	err = c.o.Store.List(ctx, c.lay.MarkerPrefix(), "", func(i object.Info) error {
		keys = append(keys, i.Key)
		return nil
	})
	return keys, err
}

// mark writes a version marker when a ledger has changed since the last one, and drops old ones. Each round ends with
// it, also when nothing is deleted: what was committed since the last marker is what metadata that is set back can
// lose without anybody noticing (I-35).
func (c *Collector) mark(ctx context.Context) error {
	img := c.o.Meta.Image()
	m := Marker{Format: formatNumber, ClusterID: c.lay.ClusterID, Generation: c.lay.Generation, Revision: img.Revision,
		At: c.o.Now().UnixMilli(), Ledgers: c.versions(img)}
	h := fnv.New64a()
	fmt.Fprint(h, m.Ledgers)
	if c.marked && h.Sum64() == c.markedSum {
		return nil
	}
	if err := c.putSmall(ctx, c.lay.MarkerKey(m.Revision, m.At), m, object.PutOptions{}); err != nil {
		return fmt.Errorf("write a version marker: %w", err)
	}
	c.marked, c.markedSum = true, h.Sum64()
	keys, err := c.markers(ctx)
	if err != nil || len(keys) <= keepMarkers {
		return err
	}
	return c.o.Store.Delete(ctx, keys[:len(keys)-keepMarkers])
}

// versions lists the ledgers of all live partitions that were ever written. Those of deleted topics are left out:
// they end, and are forgotten.
func (c *Collector) versions(img *metadata.Image) []MarkedLedger {
	var out []MarkedLedger
	for _, t := range img.Topics() {
		for i := range t.Partitions {
			if l := c.o.Meta.CachedLedger(t.Partition(int32(i))); l.Version > 0 {
				out = append(out, MarkedLedger{t.ID, int32(i), l.Version, l.Next})
			}
		}
	}
	return out
}

// used tells whether any ledger names a segment.
func (c *Collector) used(img *metadata.Image) bool {
	for _, t := range img.Topics() {
		for i := range t.Partitions {
			if !c.o.Meta.CachedLedger(t.Partition(int32(i))).Empty() {
				return true
			}
		}
	}
	return false
}

// layoutOf names the objects of the metadata's cluster and generation.
func layoutOf(img *metadata.Image) layout.Layout {
	return layout.Layout{ClusterID: img.ClusterID, Generation: img.Generation}
}
