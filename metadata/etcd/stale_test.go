package etcd

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// I-03, I-08, I-26, I-38: a broker whose image stands still (its watch hangs, its process was suspended) commits
// nothing that the cluster has moved on from: the transaction itself compares.
func TestStaleImageCommitsNothing(t *testing.T) {
	srv := embedded(t, "")
	plain := store(t, srv.Client(), "")
	for name, move := range map[string]func(tp *metadata.Topic) metadata.Edit{
		"new leader": func(tp *metadata.Topic) metadata.Edit {
			s := tp.Partitions[0]
			s.LeaderEpoch++
			return metadata.ChangePartition{ID: tp.ID, Version: s.Version, State: s}
		},
		"topic deleted": func(tp *metadata.Topic) metadata.Edit { return metadata.DeleteTopic{ID: tp.ID} },
		"turned local": func(tp *metadata.Topic) metadata.Edit {
			return metadata.AlterTopicConfigs{ID: tp.ID, Set: map[string]string{"remote.storage.enable": "false"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := topic.NewID()
			require.NoError(t, plain.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: id.String(), Partitions: metatest.Partitions(1, 0)})[0])
			st := store(t, srv.Client(), "")
			st.stop()
			st.done.Wait()
			tp := plain.Image().TopicByID(id)
			require.NoError(t, plain.Commit(t.Context(), move(tp))[0])
			require.Equal(t, tp, st.Image().TopicByID(id))

			short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err := st.CommitLedger(short, tp.Partition(0), ledger.Append{Segment: metatest.Segment(0, 10, 0)})
			require.Error(t, err)
			require.NotErrorIs(t, err, metadata.ErrAmbiguous)
			l, err := plain.Ledger(t.Context(), tp.Partition(0))
			require.NoError(t, err)
			require.Zero(t, l.Version)

			key := st.keys.part(lkey{id, 0})
			before, err := plain.c.Get(t.Context(), key)
			require.NoError(t, err)
			s := tp.Partitions[0]
			s.Leader, s.LeaderEpoch = metadata.NoLeader, 9
			require.Error(t, st.Commit(short, metadata.ChangePartition{ID: id, Version: s.Version, State: s})[0])
			require.Error(t, st.Commit(short, metadata.AddPartitions{ID: id, From: 1, Partitions: metatest.Partitions(1, 0)})[0])
			require.NoError(t, plain.refresh(t.Context()))
			after, err := plain.c.Get(t.Context(), key)
			require.NoError(t, err)
			switch now := plain.Image().TopicByID(id); name {
			case "turned local": // which leaves the partitions as they are
				require.Len(t, now.Partitions, 1)
				require.Equal(t, "false", now.Configs["remote.storage.enable"])
			case "topic deleted":
				require.Nil(t, now)
				require.Equal(t, revisions(before), revisions(after))
			default:
				require.Equal(t, revisions(before), revisions(after))
			}
		})
	}
}

// revisions are the values that were read and the revisions in which they were written. The messages that hold them are not
// compared: what they know of their own size depends on how they came.
func revisions(r *clientv3.GetResponse) (all []string) {
	for _, kv := range r.Kvs {
		all = append(all, fmt.Sprintf("%q=%q %d", kv.Key, kv.Value, kv.ModRevision))
	}
	return all
}

// A cache that is behind refuses nothing: the ledger is read before an edit is turned down.
func TestStaleCacheIsReadAgain(t *testing.T) {
	srv := embedded(t, "")
	st := store(t, srv.Client(), "")
	id := topic.NewID()
	require.NoError(t, st.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: "a", Partitions: metatest.Partitions(1, 0)})[0])
	p := topic.Partition{ID: id, Topic: "a"}
	l, err := st.CommitLedger(t.Context(), p, ledger.Append{Segment: metatest.Segment(0, 10, 0)})
	require.NoError(t, err)
	st.ledgers.mu.Lock()
	clear(st.ledgers.all)
	st.ledgers.mu.Unlock()
	l, err = st.CommitLedger(t.Context(), p, ledger.Append{Base: l.Next, Segment: metatest.Segment(10, 20, 0)})
	require.NoError(t, err)
	require.Equal(t, int64(20), l.Next)
}

// What this process committed is never taken back by what the watch, or a listing, brings later (I-11: start
// and next never go back).
func TestCacheNeverGoesBack(t *testing.T) {
	var c ledgers
	c.init()
	k := lkey{id: topic.ID{1}}
	newest := held{l: &ledger.Ledger{Version: 3, Start: 7, Next: 7}, rev: 30}
	c.put(k, newest)
	c.put(k, held{l: &ledger.Ledger{Version: 2}, rev: 20})
	require.Equal(t, newest, c.get(k))
	old := func() *ledgerChanges {
		ch := newLedgerChanges()
		ch.delta(k, 20).head = &ledgerHead{Ledger: ledger.Ledger{Version: 2}}
		return ch
	}
	c.take(old(), quiet())
	require.Equal(t, newest, c.get(k))
	c.reset(old(), 25, quiet())
	require.Equal(t, newest, c.get(k))
	c.reset(newLedgerChanges(), 31, quiet())
	require.Zero(t, c.get(k).l.Version, "gone from etcd")
}
