package etcd

import (
	"encoding/json"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// held is a ledger as of one revision of its head; every edit of a ledger writes its head.
type held struct {
	l     *ledger.Ledger
	rev   int64 // mod revision of the head, 0 if there is none
	marks []string
}

// ledgers is the cache. Commits of this process put their outcome in at once; the follower brings the rest.
// The newer revision wins, so that neither can take the other back.
type ledgers struct {
	mu    sync.Mutex
	all   map[lkey]held
	empty map[lkey]*ledger.Ledger // of partitions without one, made once because each fetch asks; a few thousand

	fnMu sync.Mutex // held while watchers are called
	fns  map[int]func(topic.Partition, *ledger.Ledger)
	next int
	told map[lkey]int64 // version last told
}

const maxEmpty = 4096

func (c *ledgers) init() {
	c.all = make(map[lkey]held)
	c.empty = make(map[lkey]*ledger.Ledger)
	c.fns = make(map[int]func(topic.Partition, *ledger.Ledger))
	c.told = make(map[lkey]int64)
}

func (c *ledgers) get(k lkey) held {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.all[k]
	if ok {
		return h
	}
	l := c.empty[k]
	if l == nil {
		if len(c.empty) >= maxEmpty { // of topics that are gone, perhaps
			clear(c.empty)
		}
		l = &ledger.Ledger{Topic: k.id, Index: k.index}
		c.empty[k] = l
	}
	return held{l: l}
}

// put keeps h unless something newer is there.
func (c *ledgers) put(k lkey, h held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.rev > c.all[k].rev {
		c.all[k] = h
	}
}

// ledgerChanges gathers what one response says of ledgers, by partition and revision.
type ledgerChanges struct {
	order []lkey
	by    map[lkey][]*delta
}

// delta is what one revision did to one ledger.
type delta struct {
	rev  int64
	head *ledgerHead // nil: deleted
	puts []ledger.Segment
	dels []int64 // bases
}

func newLedgerChanges() *ledgerChanges { return &ledgerChanges{by: make(map[lkey][]*delta)} }

// add takes in a key if it is a ledger's, and reports whether it is.
func (c *ledgerChanges) add(k keys, kv *mvccpb.KeyValue, deleted bool, log *slog.Logger) bool {
	key := strings.TrimPrefix(string(kv.Key), k.prefix)
	isHead := strings.HasPrefix(key, kHead)
	if !isHead && !strings.HasPrefix(key, kSeg) {
		return false
	}
	p, base, ok := parsePart(key[len(kHead):])
	if !ok {
		log.Error("a ledger key cannot be read and is left out", "key", string(kv.Key))
		return true
	}
	d := c.delta(p, kv.ModRevision)
	var err error
	switch {
	case isHead && deleted:
		d.head = nil
	case isHead:
		d.head = new(ledgerHead)
		err = json.Unmarshal(kv.Value, d.head)
	case deleted:
		d.dels = append(d.dels, parseBase(base))
	default:
		var s ledger.Segment
		if err = json.Unmarshal(kv.Value, &s); err == nil {
			d.puts = append(d.puts, s)
		}
	}
	if err != nil {
		log.Error("a ledger key cannot be read", "key", string(kv.Key), "revision", kv.ModRevision, "err", err)
	}
	return true
}

func parseBase(s string) int64 {
	var n int64
	for i := range len(s) {
		n = n*10 + int64(s[i]-'0')
	}
	return n
}

func (c *ledgerChanges) delta(p lkey, rev int64) *delta {
	ds := c.by[p]
	if ds == nil {
		c.order = append(c.order, p)
	}
	if n := len(ds); n > 0 && ds[n-1].rev == rev {
		return ds[n-1]
	}
	d := &delta{rev: rev}
	c.by[p] = append(ds, d)
	return d
}

// take works changes into the cache and gives the partitions whose ledger may have changed.
func (c *ledgers) take(ch *ledgerChanges, log *slog.Logger) []lkey {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range ch.order {
		for _, d := range ch.by[k] {
			h := c.all[k]
			if d.rev <= h.rev {
				continue
			}
			if d.head == nil {
				delete(c.all, k)
				continue
			}
			var recent []ledger.Segment
			if h.l != nil {
				recent = h.l.Recent
			}
			l := d.head.Ledger
			l.Recent = merge(recent, d.puts, d.dels)
			if err := l.Check(); err != nil {
				log.Error("a ledger in etcd breaks its rules", "topic", k.id, "partition", k.index, "revision", d.rev, "err", err)
			}
			c.all[k] = held{l: &l, rev: d.rev, marks: d.head.Marks}
		}
	}
	return ch.order
}

// reset replaces the cache by what a complete listing at rev says. What this process committed after rev stays.
func (c *ledgers) reset(ch *ledgerChanges, rev int64, log *slog.Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.all
	c.all = make(map[lkey]held, len(ch.order))
	for _, k := range ch.order {
		h := gather(k, ch.by[k])
		if h.l == nil {
			continue
		}
		if err := h.l.Check(); err != nil {
			log.Error("a ledger in etcd breaks its rules", "topic", k.id, "partition", k.index, "err", err)
		}
		c.all[k] = h
	}
	for k, h := range old {
		if h.rev > rev {
			c.all[k] = h
		}
	}
}

// gather puts a ledger together from all of its keys, each with the revision of its own last change.
func gather(k lkey, ds []*delta) held {
	var h held
	var segs []ledger.Segment
	for _, d := range ds {
		if d.head != nil {
			l := d.head.Ledger
			h = held{l: &l, rev: d.rev, marks: d.head.Marks}
		}
		segs = append(segs, d.puts...)
	}
	if h.l != nil {
		h.l.Recent = merge(nil, segs, nil)
	}
	return h
}

// merge gives old without dels and with puts, sorted by base; old is not written to.
func merge(old, puts []ledger.Segment, dels []int64) []ledger.Segment {
	if len(old)+len(puts) == 0 {
		return nil
	}
	n := make([]ledger.Segment, 0, len(old)+len(puts))
	gone := make(map[int64]bool, len(dels)+len(puts))
	for _, b := range dels {
		gone[b] = true
	}
	for _, s := range puts {
		gone[s.Base] = true
	}
	for _, s := range old {
		if !gone[s.Base] {
			n = append(n, s)
		}
	}
	n = append(n, puts...)
	if !sort.SliceIsSorted(n, func(i, j int) bool { return n[i].Base < n[j].Base }) {
		slices.SortFunc(n, func(a, b ledger.Segment) int {
			if a.Base < b.Base {
				return -1
			}
			return 1
		})
	}
	if len(n) == 0 {
		return nil
	}
	return n
}

// CachedLedger implements metadata.LedgerStore.
func (s *Store) CachedLedger(p topic.Partition) *ledger.Ledger { return s.ledgers.get(lkeyOf(p)).l }

// OnLedger implements metadata.LedgerStore.
func (s *Store) OnLedger(fn func(topic.Partition, *ledger.Ledger)) func() {
	c := &s.ledgers
	c.fnMu.Lock()
	defer c.fnMu.Unlock()
	n := c.next
	c.next++
	c.fns[n] = fn
	return func() {
		c.fnMu.Lock()
		defer c.fnMu.Unlock()
		delete(c.fns, n)
	}
}

// notifyLedgers tells watchers of ledgers that are newer than what they were told.
func (s *Store) notifyLedgers(touched []lkey) {
	c := &s.ledgers
	c.fnMu.Lock()
	defer c.fnMu.Unlock()
	for _, k := range touched {
		c.mu.Lock()
		h, ok := c.all[k]
		c.mu.Unlock()
		if !ok {
			delete(c.told, k)
			continue
		}
		if h.l.Version <= c.told[k] {
			continue
		}
		c.told[k] = h.l.Version
		name := partitionName(s.Image(), k)
		for i := range c.next {
			if fn := c.fns[i]; fn != nil {
				fn(name, h.l)
			}
		}
	}
}

func (s *Store) notifyAllLedgers() {
	s.ledgers.mu.Lock()
	ks := make([]lkey, 0, len(s.ledgers.all))
	for k := range s.ledgers.all {
		ks = append(ks, k)
	}
	s.ledgers.mu.Unlock()
	s.notifyLedgers(ks)
}

func partitionName(img *metadata.Image, k lkey) topic.Partition {
	p := topic.Partition{ID: k.id, Index: k.index}
	if t := img.TopicByID(k.id); t != nil {
		p.Topic = t.Name
	}
	return p
}
