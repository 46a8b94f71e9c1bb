package compaction

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/topic"
)

// names is a set of object keys, by a hash so that millions fit in memory.
type names map[[16]byte]struct{}

func hashKey(key string) (h [16]byte) {
	sum := sha256.Sum256([]byte(key))
	copy(h[:], sum[:])
	return h
}

func (n names) has(key string) bool {
	_, ok := n[hashKey(key)]
	return ok
}

// addLedger adds every key that a ledger names, folds and what is in them included.
func (c *Collector) addLedger(ctx context.Context, n names, l *ledger.Ledger) error {
	for _, f := range l.Folds {
		segs, err := c.loadFold(ctx, f)
		if err != nil {
			return fmt.Errorf("what fold %s names is not known: %w", f.Key, err)
		}
		n[hashKey(f.Key)] = struct{}{}
		for _, s := range segs {
			n[hashKey(s.Key)] = struct{}{}
		}
	}
	for _, s := range l.Recent {
		n[hashKey(s.Key)] = struct{}{}
	}
	return nil
}

// allNames collects the keys that any ledger names, read linearizably: of live topics, and of deleted ones but for
// those in dropped. An object may be named by several ledgers (I-07).
func (c *Collector) allNames(ctx context.Context, dropped topic.ID) (names, error) {
	n := names{}
	add := func(p topic.Partition) error {
		if p.ID == dropped {
			return nil
		}
		l, err := c.o.Meta.Ledger(ctx, p)
		if err != nil {
			return fmt.Errorf("read the ledger of %s: %w", p, err)
		}
		return c.addLedger(ctx, n, l)
	}
	tombs, err := c.o.Meta.Tombstones(ctx) // before the image: a topic that is deleted in between is seen twice, not never
	if err != nil {
		return nil, err
	}
	for _, t := range tombs {
		for i := range t.Partitions {
			if err := add(topic.Partition{ID: t.ID, Topic: t.Name, Index: i}); err != nil {
				return nil, err
			}
		}
	}
	for _, t := range c.o.Meta.Image().Topics() {
		for i := range t.Partitions {
			if err := add(t.Partition(int32(i))); err != nil {
				return nil, err
			}
		}
	}
	return n, nil
}

// own keeps of keys those that this generation wrote: others are not ours to delete.
func (c *Collector) own(keys []string) (own []string) {
	for _, k := range keys {
		if strings.HasPrefix(k, c.lay.Prefix()) {
			own = append(own, k)
		}
	}
	return own
}

// delete deletes keys that no ledger names any more. It is the only place where data is deleted.
func (c *Collector) delete(ctx context.Context, keys []string, dropped topic.ID, kind string) error {
	if keys = c.own(keys); len(keys) == 0 {
		return nil
	}
	if d := c.Distrust(); d != "" {
		return errors.New(d)
	}
	n, err := c.allNames(ctx, dropped)
	if err != nil {
		return fmt.Errorf("nothing is deleted: %w", err)
	}
	gone := keys[:0:0]
	for _, k := range keys {
		if !n.has(k) {
			gone = append(gone, k)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	if err := c.mark(ctx); err != nil {
		return err
	}
	if err := c.o.Store.Delete(ctx, gone); err != nil {
		return fmt.Errorf("delete %s objects: %w", kind, err)
	}
	c.metrics.deleted.WithLabelValues(kind).Add(float64(len(gone)))
	for _, k := range gone {
		delete(c.first, k)
	}
	return nil
}

// deleteWaiting deletes what this process un-named once the grace period has passed. No fence is needed: an append
// cannot name these keys again, because the ledger's next is above them.
func (c *Collector) deleteWaiting(ctx context.Context) error {
	now := c.o.Now()
	var due []string
	n := 0
	for n < len(c.waiting) && now.Sub(c.waiting[n].since) >= c.o.Grace {
		due = append(due, c.waiting[n].keys...)
		n++
	}
	if n == 0 {
		return nil
	}
	if err := c.delete(ctx, due, topic.ID{}, "expired"); err != nil {
		return err
	}
	c.waiting = c.waiting[n:]
	return nil
}

// list lists the bucket for orphans when that is due.
func (c *Collector) list(ctx context.Context) error {
	if c.o.Now().Before(c.nextList) {
		return nil
	}
	if err := c.collectOrphans(ctx); err != nil {
		return fmt.Errorf("look for orphans: %w", err)
	}
	c.nextList = c.o.Now().Add(c.o.ListEvery)
	return nil
}

// collectOrphans goes over all objects of this generation, one partition's folder after the other.
func (c *Collector) collectOrphans(ctx context.Context) error {
	storeNow, err := c.o.Store.Now(ctx)
	if err != nil {
		return err
	}
	img := c.o.Meta.Image()
	folders := make(map[string]topic.Partition)
	for _, t := range img.Topics() {
		for i := range t.Partitions {
			folders[c.lay.PartitionPrefix(t.ID, int32(i))] = t.Partition(int32(i))
		}
	}
	var total sweep
	seen := make(map[string]bool)
	var objs []object.Info // of folder
	folder := ""
	flush := func() error {
		if len(objs) == 0 {
			return nil
		}
		defer func() { objs = objs[:0] }()
		p, live := folders[folder]
		if !live {
			if !c.remembered(img, folder) {
				total.unknown += len(objs)
			}
			return nil
		}
		return c.sweepFolder(ctx, p, objs, storeNow, &total)
	}
	err = c.o.Store.List(ctx, c.lay.Prefix(), "", func(o object.Info) error {
		dir := o.Key[:strings.LastIndexByte(o.Key, '/')+1]
		if dir == c.lay.MarkerPrefix() || dir == c.lay.DistrustPrefix() {
			return nil
		}
		if dir != folder {
			if err := flush(); err != nil {
				return err
			}
			folder = dir
		}
		seen[o.Key] = true
		objs = append(objs, o)
		return ctx.Err()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	for k := range c.first { // gone by other means
		if !seen[k] {
			delete(c.first, k)
		}
	}
	c.note(func(s *Status) { s.Orphans, s.Unknown = total.nameless, total.unknown })
	if total.ahead != "" {
		reason := "it is ahead of the metadata: " + total.ahead
		c.distrust(reason)
		return c.record(ctx, reason)
	}
	return c.deleteOrphans(ctx, total.orphans)
}

// sweep is what one listing found.
type sweep struct {
	orphans  []orphans
	nameless int
	unknown  int
	ahead    string
}

type orphans struct {
	p    topic.Partition
	keys []string
}

// remembered tells whether a folder belongs to a deleted topic whose objects go with its tombstone.
func (c *Collector) remembered(img *metadata.Image, folder string) bool {
	for _, t := range img.Tombstones() {
		if strings.Contains(folder, "/"+t.ID.String()+"/") {
			return true
		}
	}
	return false
}

// sweepFolder sorts what one partition's folder holds.
func (c *Collector) sweepFolder(ctx context.Context, p topic.Partition, objs []object.Info, storeNow time.Time, total *sweep) error {
	l, err := c.o.Meta.Ledger(ctx, p) // after the listing of this folder
	if err != nil {
		return err
	}
	n := names{}
	if err := c.addLedger(ctx, n, l); err != nil {
		return err
	}
	for _, u := range c.waiting { // deleted by deleteWaiting
		for _, k := range u.keys {
			n[hashKey(k)] = struct{}{}
		}
	}
	s := sortListing(objs, l, n.has, c.first, storeNow, c.o.Grace)
	total.nameless += len(s.orphans) + s.young
	total.unknown += s.strange
	if total.ahead == "" {
		total.ahead = s.ahead
	}
	if len(s.orphans) > 0 {
		o := orphans{p: p}
		for _, x := range s.orphans {
			o.keys = append(o.keys, x.key)
		}
		total.orphans = append(total.orphans, o)
	}
	return nil
}

// deleteOrphans raises the fence of each partition that has orphans, and then deletes them: an uploader that read the
// ledger before its object was listed cannot commit it any more (I-10).
func (c *Collector) deleteOrphans(ctx context.Context, all []orphans) error {
	if c.manual.Load() {
		return nil
	}
	var errs []error
	var keys []string
	for _, o := range all {
		if err := c.fence(ctx, o.p); err != nil {
			errs = append(errs, fmt.Errorf("fence %s: %w", o.p, err))
			continue
		}
		keys = append(keys, o.keys...)
	}
	errs = append(errs, c.delete(ctx, keys, topic.ID{}, "orphaned"))
	return errors.Join(errs...)
}

func (c *Collector) fence(ctx context.Context, p topic.Partition) error {
	l, err := c.o.Meta.Ledger(ctx, p)
	if err != nil {
		return err
	}
	_, err = c.o.Meta.CommitLedger(ctx, p, ledger.Fence{From: l.Fence})
	return err
}

// dropTopics deletes the objects of topics that were deleted long enough ago.
func (c *Collector) dropTopics(ctx context.Context) error {
	tombs, err := c.o.Meta.Tombstones(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range tombs {
		if c.o.Now().UnixMilli()-t.DeletedAt < c.o.DeleteDelay.Milliseconds() || c.o.Meta.Image().TopicByID(t.ID) != nil {
			continue
		}
		if err := c.dropTopic(ctx, t); err != nil {
			errs = append(errs, fmt.Errorf("objects of deleted topic %s (%s): %w", t.Name, t.ID, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Collector) dropTopic(ctx context.Context, t metadata.TopicTombstone) error {
	var keys []string
	for i := range t.Partitions {
		err := c.o.Store.List(ctx, c.lay.PartitionPrefix(t.ID, i), "", func(o object.Info) error {
			keys = append(keys, o.Key)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := c.delete(ctx, keys, t.ID, "deleted"); err != nil {
		return err
	}
	// The marker first: one that still has the topic would make the metadata look older than the bucket.
	if err := c.mark(ctx); err != nil {
		return err
	}
	if err := c.o.Meta.ForgetTombstone(ctx, t.ID); err != nil {
		return err
	}
	c.o.Logger.Info("objects of a deleted topic are deleted", "topic", t.Name, "id", t.ID.String(), "objects", len(keys))
	return nil
}
