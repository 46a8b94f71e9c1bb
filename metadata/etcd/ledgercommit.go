package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/topicconfig"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// Ledger implements metadata.LedgerStore.
func (s *Store) Ledger(ctx context.Context, p topic.Partition) (*ledger.Ledger, error) {
	ctx, cancel := budget(ctx)
	defer cancel()
	h, err := s.readLedger(ctx, lkeyOf(p))
	if err != nil {
		return nil, err
	}
	return h.l, nil
}

// readLedger reads a ledger as it is now, and remembers it.
func (s *Store) readLedger(ctx context.Context, k lkey) (held, error) {
	try, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := s.c.Txn(try).Then(s.ledgerGets(k)...).Commit()
	if err != nil {
		return held{}, fmt.Errorf("%w: ledger of %s/%d: %w", metadata.ErrUnavailable, k.id, k.index, err)
	}
	h, err := s.decodeLedger(k, r)
	if err == nil {
		s.ledgers.put(k, h)
	}
	return h, err
}

func (s *Store) ledgerGets(k lkey) []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(s.keys.head(k)), clientv3.OpGet(s.keys.segs(k), clientv3.WithPrefix())}
}

// decodeLedger reads the first two responses of a transaction made of ledgerGets.
func (s *Store) decodeLedger(k lkey, r *clientv3.TxnResponse) (held, error) {
	ch := newLedgerChanges()
	for _, resp := range r.Responses[:2] {
		for _, kv := range resp.GetResponseRange().Kvs {
			ch.add(s.keys, kv, false, s.log)
		}
	}
	h := gather(k, ch.by[k])
	if h.l == nil {
		return held{l: &ledger.Ledger{Topic: k.id, Index: k.index}}, nil
	}
	if err := h.l.Check(); err != nil {
		return held{}, fmt.Errorf("ledger of %s/%d in etcd: %w", k.id, k.index, err)
	}
	return h, nil
}

// attempt is one CommitLedger: what it knows, and whether an answer is outstanding.
type attempt struct {
	s      *Store
	p      topic.Partition
	k      lkey
	e      ledger.Edit
	mark   string
	cur    held
	fresh  bool // cur was read from etcd after the call began
	unsure bool // a transaction against cur has an unknown outcome
	// For an append: what the transaction compares beside the ledger's head.
	topicKey     string
	topicVersion int64
}

// CommitLedger implements metadata.LedgerStore.
//
// Why an unknown outcome can be settled: each transaction compares the revision of the ledger's head and each
// one that goes in changes it. After an answer is lost we read the ledger (linearizable). If our mark is there,
// we are in. If the head has moved without our mark, the lost transaction can never go in. If the head has not
// moved, we send the same compare again: at most one of the two goes in, and both say the same.
func (s *Store) CommitLedger(ctx context.Context, p topic.Partition, e ledger.Edit) (*ledger.Ledger, error) {
	ctx, cancel := budget(ctx)
	defer cancel()
	a := &attempt{s: s, p: p, k: lkeyOf(p), e: e, mark: nonce()}
	a.cur = s.ledgers.get(a.k)
	l, err := a.run(ctx)
	s.met.edits.WithLabelValues("ledger-"+e.Kind(), result(err)).Inc()
	return l, err
}

func (a *attempt) run(ctx context.Context) (*ledger.Ledger, error) {
	for {
		next, err := a.cur.l.Apply(a.e)
		if err == nil && next == a.cur.l {
			return next, nil
		}
		if err == nil {
			err = a.admit()
		}
		if err != nil {
			if a.fresh {
				return nil, err
			}
			if rerr := a.reread(ctx); rerr != nil {
				return nil, rerr
			}
			continue
		}
		l, again, err := a.send(ctx, next)
		if !again {
			return l, err
		}
	}
}

// admit checks an append against the image: is the topic there, does it archive, is the caller its leader?
func (a *attempt) admit() error {
	e, ok := a.e.(ledger.Append)
	if !ok {
		return nil
	}
	t := a.s.Image().TopicByID(a.k.id)
	if t == nil || int(a.k.index) >= len(t.Partitions) {
		return fmt.Errorf("%w: %s", metadata.ErrUnknownTopic, a.p)
	}
	if t.Configs[topicconfig.RemoteStorageEnable] == "false" {
		return fmt.Errorf("%w: %s", metadata.ErrNotRemote, t.Name)
	}
	if now := t.Partitions[a.k.index].LeaderEpoch; now != e.Epoch {
		return fmt.Errorf("%w: append at epoch %d, %s is at %d", metadata.ErrStaleEpoch, e.Epoch, a.p, now)
	}
	a.topicKey, a.topicVersion = a.s.keys.topic(t.Name), t.Version
	return nil
}

// reread gets ledger and image up to date.
func (a *attempt) reread(ctx context.Context) error {
	for {
		err := a.s.refreshUntil(ctx)
		if err == nil {
			var h held
			if h, err = a.s.readLedger(ctx, a.k); err == nil {
				if h.rev != a.cur.rev {
					a.unsure = false
				}
				a.cur, a.fresh = h, true
				return nil
			}
		}
		if ctx.Err() != nil || !errors.Is(err, metadata.ErrUnavailable) {
			return a.s.doubt(a.unsure, err)
		}
		sleep(ctx, retryMin)
	}
}

// send writes next in place of cur. again means: look at the new cur and decide anew.
func (a *attempt) send(ctx context.Context, next *ledger.Ledger) (l *ledger.Ledger, again bool, err error) {
	s := a.s
	cmps := []clientv3.Cmp{same(s.keys.head(a.k), a.cur.rev)}
	if e, ok := a.e.(ledger.Append); ok {
		part := s.keys.part(a.k)
		cmps = append(cmps, same(a.topicKey, a.topicVersion),
			clientv3.Compare(clientv3.Value(part), ">", epochBytes(uint32(e.Epoch))),
			clientv3.Compare(clientv3.Value(part), "<", epochBytes(uint32(e.Epoch)+1)))
	} else {
		// Not for a topic that is forgotten: its keys would stay for ever.
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(s.keys.part(a.k)), ">", 0))
	}
	marks := append(slices.Clone(a.cur.marks), a.mark)
	marks = marks[max(0, len(marks)-maxMarks):]
	ops := append(s.segmentOps(a.k, a.cur.l.Recent, next.Recent), clientv3.OpPut(s.keys.head(a.k), encode(ledgerHead{Ledger: *next, Marks: marks})))
	if len(ops) > s.cl.ops {
		return nil, false, fmt.Errorf("%w: %s changes %d entries at once, etcd allows %d", ledger.ErrInvalid, a.e.Kind(), len(ops), s.cl.ops)
	}
	r, err := s.txn(ctx, cmps, ops, s.ledgerGets(a.k))
	switch {
	case err == nil:
		h := held{l: next, rev: r.Header.Revision, marks: marks}
		s.ledgers.put(a.k, h)
		return next, false, nil
	case errors.Is(err, errLost):
		return a.lost(ctx, r)
	case classify(err) == refused:
		return nil, false, s.doubt(a.unsure, refusal(err))
	}
	a.unsure = true
	if err := a.reread(ctx); err != nil {
		return nil, false, err
	}
	if slices.Contains(a.cur.marks, a.mark) {
		return a.cur.l, false, nil
	}
	return nil, true, nil
}

// lost looks at why a compare failed.
func (a *attempt) lost(ctx context.Context, r *clientv3.TxnResponse) (*ledger.Ledger, bool, error) {
	h, err := a.s.decodeLedger(a.k, r)
	if err != nil {
		return nil, false, err
	}
	a.s.ledgers.put(a.k, h)
	if slices.Contains(h.marks, a.mark) {
		return h.l, false, nil // an attempt whose answer was lost went in after all
	}
	moved := h.rev != a.cur.rev
	a.cur, a.fresh = h, true
	if moved {
		a.unsure = false
	} else if _, ok := a.e.(ledger.Append); !ok {
		return nil, false, fmt.Errorf("%w: %s", metadata.ErrUnknownTopic, a.p)
	}
	// For an append topic or epoch may have moved as well: admit sees it on the newer image.
	if err := a.s.catchUp(ctx, r.Header.Revision); err != nil {
		return nil, false, a.s.doubt(a.unsure, err)
	}
	return nil, true, nil
}

// segmentOps gives the puts and deletes that turn the small keys of old into those of next. Deletes of
// neighbours go as one range, where no key is put in between: etcd refuses overlaps.
func (s *Store) segmentOps(k lkey, old, next []ledger.Segment) []clientv3.Op {
	var ops []clientv3.Op
	stays := make(map[int64]bool, len(next))
	was := make(map[int64]ledger.Segment, len(old))
	for _, x := range old {
		was[x.Base] = x
	}
	for _, x := range next {
		stays[x.Base] = true
		if o, ok := was[x.Base]; !ok || o != x {
			ops = append(ops, clientv3.OpPut(s.keys.seg(k, x.Base), encode(x)))
		}
	}
	for i := 0; i < len(old); {
		if stays[old[i].Base] {
			i++
			continue
		}
		j := i
		for j+1 < len(old) && !stays[old[j+1].Base] && !between(next, old[i].Base, old[j+1].Base) {
			j++
		}
		if i == j {
			ops = append(ops, clientv3.OpDelete(s.keys.seg(k, old[i].Base)))
		} else {
			ops = append(ops, clientv3.OpDelete(s.keys.seg(k, old[i].Base), clientv3.WithRange(s.keys.seg(k, old[j].Base)+"\x00")))
		}
		i = j + 1
	}
	return ops
}

// between reports whether any segment begins in (lo, hi).
func between(segs []ledger.Segment, lo, hi int64) bool {
	i, _ := slices.BinarySearchFunc(segs, lo, func(s ledger.Segment, b int64) int {
		if s.Base <= b {
			return -1
		}
		return 1
	})
	return i < len(segs) && segs[i].Base < hi
}
