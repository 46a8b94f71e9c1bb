package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

const (
	chunk    = 100  // partitions written, or edits nested, in one request: etcd allows 128 operations
	headroom = 8    // operations of a transaction kept for what is not a partition
	together = 2000 // keys written by one request: some 300 bytes each, and etcd takes 1.5 MiB
)

// Commit implements metadata.Store. Changes of partitions and creations of topics that follow each other travel together,
// each as a nested transaction with its own compare, so that one conflict fails one edit. etcd counts the operations of
// each nested transaction by itself, so ten topics of a hundred partitions are one request also to an etcd with its
// default limit.
func (s *Store) Commit(ctx context.Context, edits ...metadata.Edit) []error {
	ctx, cancel := budget(ctx)
	defer cancel()
	errs := make([]error, len(edits))
	for i := 0; i < len(edits); {
		n, keys := 0, 0
		for i+n < len(edits) && n < chunk {
			k := s.nests(edits[i+n])
			if k == 0 || keys+k > together {
				break
			}
			n, keys = n+1, keys+k
		}
		if n > 1 {
			s.commitTogether(ctx, edits[i:i+n], errs[i:i+n])
			i += n
			continue
		}
		errs[i] = s.commitOne(ctx, edits[i], false)
		i++
	}
	for i, err := range errs {
		s.met.edits.WithLabelValues(edits[i].Kind(), result(err)).Inc()
	}
	return errs
}

// nests tells how many keys an edit writes if it can be a nested transaction, else 0.
func (s *Store) nests(e metadata.Edit) int {
	switch e := e.(type) {
	case metadata.ChangePartition:
		return 1
	case metadata.CreateTopic:
		if n := len(e.Partitions); n+headroom <= s.cl.ops {
			return n + 1
		}
	}
	return 0
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, metadata.ErrAmbiguous):
		return "ambiguous"
	case errors.Is(err, metadata.ErrUnavailable), errors.Is(err, metadata.ErrStoreDiskFull):
		return "error"
	}
	return "refused"
}

// commitOne plans, writes, and waits for the image; on a conflict, or when the plan fails on an image that may
// be old, it catches up and plans again. unsure says that an attempt was made before whose outcome is unknown.
func (s *Store) commitOne(ctx context.Context, e metadata.Edit, unsure bool) error {
	current := false // the image includes all that had happened when we began
	for {
		img := s.Image()
		if unsure && current && metadata.Holds(img, e) {
			return nil
		}
		c, err := metadata.Plan(img, e, s.now().UnixMilli())
		if err != nil && (current || hopeless(err)) {
			return err // even when unsure: the image shows a state on which no earlier attempt can go in any more
		}
		if err == nil {
			var rev int64
			rev, err = s.write(ctx, c)
			switch {
			case err == nil:
				if err := s.hub.wait(ctx, rev); err != nil {
					return fmt.Errorf("%w: it is in, but the image did not follow: %w", metadata.ErrAmbiguous, err)
				}
				return nil
			case errors.Is(err, errLost):
				// The same compares as before make the next attempt and this one exclude each other.
			case classify(err) == refused:
				return s.doubt(unsure, refusal(err))
			default:
				unsure = true
			}
		}
		if cerr := s.refreshUntil(ctx); cerr != nil {
			return s.doubt(unsure, cerr)
		}
		if errors.Is(err, metadata.ErrArchived) {
			return err
		}
		current = true
	}
}

// hopeless errors do not depend on the image.
func hopeless(err error) bool {
	return errors.Is(err, metadata.ErrInvalid) || errors.Is(err, metadata.ErrPartitions)
}

// doubt adds ErrAmbiguous to an error when an attempt's outcome is unknown.
func (s *Store) doubt(unsure bool, err error) error {
	if unsure {
		return fmt.Errorf("%w: %w", metadata.ErrAmbiguous, err)
	}
	return err
}

// refreshUntil is refresh, tried again until ctx ends.
func (s *Store) refreshUntil(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := s.refresh(try)
		cancel()
		if err == nil || ctx.Err() != nil || errors.Is(err, metadata.ErrClosed) {
			return err
		}
		sleep(ctx, retryMin)
	}
}

// errLost means that a compare failed: nothing was written.
var errLost = errors.New("lost against another edit")

// txn sends one transaction; errLost when a compare failed.
func (s *Store) txn(ctx context.Context, cmps []clientv3.Cmp, ops, or []clientv3.Op) (*clientv3.TxnResponse, error) {
	try, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	start := time.Now()
	r, err := s.c.Txn(try).If(cmps...).Then(ops...).Else(or...).Commit()
	s.met.took.Observe(time.Since(start).Seconds())
	if err == nil && !r.Succeeded {
		return r, errLost
	}
	return r, err
}

// write makes the changes and gives the revision at which they went in.
func (s *Store) write(ctx context.Context, c metadata.Changes) (int64, error) {
	switch {
	case c.Topic != nil && c.NewTopic:
		return s.writeNewTopic(ctx, c)
	case c.Topic != nil:
		return s.writeTopic(ctx, c)
	case c.DropTopic != nil:
		key := s.keys.topic(c.DropTopic.Name)
		return revision(s.txn(ctx, []clientv3.Cmp{same(key, c.DropTopic.Version)},
			[]clientv3.Op{clientv3.OpDelete(key), clientv3.OpPut(s.keys.tomb(c.Tombstone.ID), encode(c.Tombstone))}, nil))
	case c.Partition != nil:
		cmps, ops := s.partitionTxn(c)
		return revision(s.txn(ctx, cmps, ops, nil))
	case c.BrokerConfig != nil:
		key := s.keys.config(c.Broker)
		return revision(s.txn(ctx, []clientv3.Cmp{same(key, c.BrokerConfig.Version)}, []clientv3.Op{clientv3.OpPut(key, encode(c.BrokerConfig.Configs))}, nil))
	case c.GroupConfig != nil:
		key := s.keys.group(c.Group)
		op := clientv3.OpDelete(key)
		if len(c.GroupConfig.Configs) > 0 {
			op = clientv3.OpPut(key, encode(c.GroupConfig.Configs))
		}
		return revision(s.txn(ctx, []clientv3.Cmp{same(key, c.GroupConfig.Version)}, []clientv3.Op{op}, nil))
	}
	return 0, fmt.Errorf("%w: an edit without changes", metadata.ErrInvalid)
}

func revision(r *clientv3.TxnResponse, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}

// same compares a key's version; 0 means that it must not exist.
func same(key string, version int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", version)
}

func (s *Store) partitionTxn(c metadata.Changes) ([]clientv3.Cmp, []clientv3.Op) {
	key := s.keys.part(lkey{c.PartitionID, c.PartitionIndex})
	return []clientv3.Cmp{same(key, c.Partition.Version), same(s.keys.tomb(c.PartitionID), 0)},
		[]clientv3.Op{clientv3.OpPut(key, encodePartition(*c.Partition))}
}

// writeNewTopic writes partitions and head in one transaction if that is allowed. Otherwise a tombstone that
// says "creating" goes first, then the partitions, which nobody sees without the head, then the head in place of
// the tombstone: a creation that breaks off leaves a tombstone, and is collected like a deleted topic.
func (s *Store) writeNewTopic(ctx context.Context, c metadata.Changes) (int64, error) {
	t, key, tomb := c.Topic, s.keys.topic(c.Topic.Name), s.keys.tomb(c.Topic.ID)
	head := clientv3.OpPut(key, encode(headOf(t)))
	if len(t.Partitions)+headroom <= s.cl.ops {
		cmps, ops := s.newTopicTxn(t)
		return revision(s.txn(ctx, cmps, ops, nil))
	}
	creating := metadata.TopicTombstone{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions)), DeletedAt: t.CreatedAt, Creating: true}
	r, err := s.txn(ctx, []clientv3.Cmp{same(key, 0)}, []clientv3.Op{clientv3.OpPut(tomb, encode(creating))}, nil)
	if err != nil {
		return 0, err
	}
	intent := same(tomb, r.Header.Revision)
	if err := s.writeAhead(ctx, t, 0, intent); err != nil {
		return 0, err
	}
	rev, err := revision(s.txn(ctx, []clientv3.Cmp{same(key, 0), intent}, []clientv3.Op{head, clientv3.OpDelete(tomb)}, nil))
	if errors.Is(err, errLost) {
		// Another topic took the name. The tombstone stays if this fails, and is collected later.
		s.txn(ctx, []clientv3.Cmp{intent}, []clientv3.Op{clientv3.OpDelete(tomb), clientv3.OpDelete(s.keys.parts(t.ID), clientv3.WithPrefix())}, nil) //nolint:errcheck
	}
	return rev, err
}

// newTopicTxn makes a topic at once.
func (s *Store) newTopicTxn(t *metadata.Topic) ([]clientv3.Cmp, []clientv3.Op) {
	key := s.keys.topic(t.Name)
	return []clientv3.Cmp{same(key, 0), same(s.keys.tomb(t.ID), 0)},
		append(s.putPartitions(t, 0, len(t.Partitions)), clientv3.OpPut(key, encode(headOf(t))))
}

// writeAhead writes partitions of a topic that nobody sees yet, as long as guard holds.
func (s *Store) writeAhead(ctx context.Context, t *metadata.Topic, from int, guard clientv3.Cmp) error {
	n := min(chunk, s.cl.ops-headroom)
	for i := from; i < len(t.Partitions); i += n {
		if _, err := s.txn(ctx, []clientv3.Cmp{guard}, s.putPartitions(t, i, min(i+n, len(t.Partitions))), nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) putPartitions(t *metadata.Topic, from, to int) []clientv3.Op {
	ops := make([]clientv3.Op, 0, to-from+1)
	for i := from; i < to; i++ {
		ops = append(ops, clientv3.OpPut(s.keys.part(lkey{t.ID, int32(i)}), encodePartition(t.Partitions[i])))
	}
	return ops
}

// writeTopic changes a topic's head and adds the partitions from FirstNew on.
func (s *Store) writeTopic(ctx context.Context, c metadata.Changes) (int64, error) {
	t, key := c.Topic, s.keys.topic(c.Topic.Name)
	cmps := []clientv3.Cmp{same(key, t.Version)}
	var or []clientv3.Op
	if c.Unarchived != (topic.ID{}) {
		// Every ledger that names a segment has at least one small key (ledger.Fold sees to it).
		segs := s.keys.topicSegs(c.Unarchived)
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(segs), "=", 0).WithPrefix())
		or = []clientv3.Op{clientv3.OpGet(segs, clientv3.WithPrefix(), clientv3.WithCountOnly())}
	}
	from := int(c.FirstNew)
	if len(t.Partitions)-from+headroom > s.cl.ops {
		if err := s.writeAhead(ctx, t, from, cmps[0]); err != nil {
			return 0, err
		}
		from = len(t.Partitions)
	}
	r, err := s.txn(ctx, cmps, append(s.putPartitions(t, from, len(t.Partitions)), clientv3.OpPut(key, encode(headOf(t)))), or)
	if errors.Is(err, errLost) && len(or) > 0 && r.Responses[0].GetResponseRange().Count > 0 {
		return 0, errArchived{fmt.Errorf("%w: topic %s", metadata.ErrArchived, t.Name)}
	}
	return revision(r, err)
}

// errArchived is an errLost that trying again will not help.
type errArchived struct{ error }

func (e errArchived) Is(target error) bool { return target == errLost }
func (e errArchived) Unwrap() error        { return e.error }

// commitTogether makes edits for which nests holds in one request. What does not go in there is tried alone: all of
// them when two take the same name, which etcd refuses as a whole.
func (s *Store) commitTogether(ctx context.Context, edits []metadata.Edit, errs []error) {
	img := s.Image()
	var ops []clientv3.Op
	var at []int
	for i, e := range edits {
		c, err := metadata.Plan(img, e, s.now().UnixMilli())
		if err != nil {
			continue
		}
		cmps, then := s.nested(c)
		ops, at = append(ops, clientv3.OpTxn(cmps, then, nil)), append(at, i)
	}
	done := make([]bool, len(edits))
	unsure := false
	if len(ops) > 0 {
		r, err := s.txn(ctx, nil, ops, nil)
		unsure = err != nil && classify(err) == ambiguous
		for j := 0; err == nil && j < len(at); j++ {
			done[at[j]] = r.Responses[j].GetResponseTxn().Succeeded
		}
		if err == nil {
			if werr := s.hub.wait(ctx, r.Header.Revision); werr != nil {
				for i := range errs {
					errs[i] = fmt.Errorf("%w: %w", metadata.ErrAmbiguous, werr)
				}
				return
			}
		}
	}
	if unsure {
		if err := s.refreshUntil(ctx); err != nil {
			for i := range errs {
				errs[i] = s.doubt(true, err)
			}
			return
		}
	}
	for i, e := range edits {
		if !done[i] && !(unsure && metadata.Holds(s.Image(), e)) {
			errs[i] = s.commitOne(ctx, e, unsure)
		}
	}
}

// nested makes the transaction of an edit for which nests holds.
func (s *Store) nested(c metadata.Changes) ([]clientv3.Cmp, []clientv3.Op) {
	if c.NewTopic {
		return s.newTopicTxn(c.Topic)
	}
	return s.partitionTxn(c)
}
