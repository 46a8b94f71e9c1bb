package etcd

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// Everything is there after a stop and a start; the cluster keeps its identity.
func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	id := topic.NewID()
	p := topic.Partition{ID: id, Topic: "a", Index: 0}

	open := func() (*Server, *Store) {
		s, err := Embedded(t.Context(), EmbeddedOptions{Dir: dir, Logger: log})
		require.NoError(t, err)
		st, err := OpenStore(t.Context(), s.Client(), StoreOptions{Logger: log})
		require.NoError(t, err)
		return s, st
	}
	s, st := open()
	require.True(t, st.Born())
	require.NoError(t, st.Register(t.Context(), metadata.Broker{ID: 1, Incarnation: "i1", Directory: "d"}))
	require.NoError(t, st.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: "a", Partitions: metatest.Partitions(2, 0)})[0])
	l, err := st.CommitLedger(t.Context(), p, ledger.Append{Segment: metatest.Segment(0, 10, 0)})
	require.NoError(t, err)
	first, err := st.NextProducerIDs(t.Context(), 1)
	require.NoError(t, err)
	was := st.Image()
	require.NoError(t, st.Close())
	require.NoError(t, s.Close())

	s, st = open()
	require.False(t, st.Born())
	now := st.Image()
	require.Equal(t, was.ClusterID, now.ClusterID)
	require.Equal(t, was.Generation, now.Generation)
	require.Equal(t, was.TopicByName("a"), now.TopicByName("a"))
	require.Empty(t, now.Brokers, "a clean stop takes the registration back")
	require.Equal(t, l, st.CachedLedger(p))
	next, err := st.NextProducerIDs(t.Context(), 1)
	require.NoError(t, err)
	require.Greater(t, next, first, "I-39: no producer id twice")
	require.NoError(t, st.Close())
	require.NoError(t, s.Close())
	require.Empty(t, logged.String(), "quiet when all is well")
}

// An empty folder is a new cluster: it names its objects by another id, and never touches those of the old
// one (I-35).
func TestEmptyEtcdIsAnotherCluster(t *testing.T) {
	a := store(t, embedded(t, "").Client(), "").Image()
	b := store(t, embedded(t, "").Client(), "").Image()
	require.NotEqual(t, a.ClusterID, b.ClusterID)
	require.NotEqual(t, a.Generation, b.Generation)
}

func TestFolderInUse(t *testing.T) {
	dir := t.TempDir()
	s, err := Embedded(t.Context(), EmbeddedOptions{Dir: dir, Logger: quiet()})
	require.NoError(t, err)
	defer s.Close() // in process
	_, err = Embedded(t.Context(), EmbeddedOptions{Dir: dir, Logger: quiet()})
	require.ErrorIs(t, err, metadata.ErrDirectoryLocked)
	require.ErrorContains(t, err, dir)
	two, err := Embedded(t.Context(), EmbeddedOptions{Dir: t.TempDir(), Logger: quiet()})
	require.NoError(t, err, "two dev brokers do not meet at a port")
	require.NoError(t, two.Close())
}

func TestFolderUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := Embedded(t.Context(), EmbeddedOptions{Dir: filepath.Join(file, "sub"), Logger: quiet()})
	require.Error(t, err)
}

func TestUnreachable(t *testing.T) {
	_, err := Connect(t.Context(), []string{"127.0.0.1:1"}, ConnectOptions{Logger: quiet(), DialTimeout: 200 * time.Millisecond})
	require.ErrorIs(t, err, metadata.ErrUnavailable)
	require.ErrorContains(t, err, "127.0.0.1:1")
}

// The quota reached: edits are refused with a sentence, and accepted again once there is space.
func TestOutOfSpace(t *testing.T) {
	s, err := Embedded(t.Context(), EmbeddedOptions{Dir: t.TempDir(), Logger: quiet(), QuotaBytes: 4 << 20})
	require.NoError(t, err)
	defer s.Close() // in process
	st := store(t, s.Client(), "")
	big := string(bytes.Repeat([]byte("x"), 1<<20))
	// etcd compares with its size at its last write to the disk, so how many are taken depends on how fast they come.
	for range 500 {
		if err = st.Commit(t.Context(), metadata.AlterBrokerConfigs{Broker: 1, Set: map[string]string{"k": big}})[0]; err != nil {
			break
		}
	}
	require.ErrorIs(t, err, metadata.ErrStoreDiskFull)
	st.checkHealth(t.Context())
	require.ErrorContains(t, st.Health(), "quota")

	_, err = s.client.c.Compact(t.Context(), st.Image().Revision)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		require.NoError(t, s.Defragment(t.Context(), true))
		return st.Commit(t.Context(), metadata.AlterBrokerConfigs{Broker: 1, Delete: []string{"k"}})[0] == nil
	}, time.Minute, 50*time.Millisecond)
	st.checkHealth(t.Context())
	require.NoError(t, st.Health())
}

// What a newer or broken firn wrote does not keep the rest from being read.
func TestUnreadableKeys(t *testing.T) {
	s := embedded(t, "")
	st := store(t, s.Client(), "")
	require.NoError(t, st.Commit(t.Context(), metadata.CreateTopic{ID: topic.NewID(), Name: "good", Partitions: metatest.Partitions(1, 0)})[0])
	for _, k := range []string{"topic/bad", "topic/x", "part/zzz/1", "part/" + topic.NewID().String() + "/0000000000", "broker/x", "broker/7", "config/q", "tomb/q", "lh/zz", "ls/zz/1/2", "what/ever", "lh/" + topic.NewID().String() + "/0000000000"} {
		_, err := s.client.c.Put(t.Context(), "/firn/"+k, "{")
		require.NoError(t, err)
	}
	other := store(t, s.Client(), "")
	require.NotNil(t, other.Image().TopicByName("good"))
	require.NoError(t, st.refresh(context.Background()))
	require.NotNil(t, st.Image().TopicByName("good"))
	require.Len(t, st.Image().Topics(), 1)
}
