package faults

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/tier/object/objecttest"
)

// startEtcd runs an etcd that several brokers can use, until the test ends.
func startEtcd(t *testing.T) string {
	t.Helper()
	at := func() []url.URL { return []url.URL{{Scheme: "http", Host: harness.FreeAddr(t)}} }
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = filepath.Join(t.TempDir(), "etcd"), "fatal", true
	cfg.ListenClientUrls, cfg.ListenPeerUrls = at(), at()
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = cfg.ListenClientUrls, cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.Name + "=" + cfg.ListenPeerUrls[0].String()
	e, err := embed.StartEtcd(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		e.Server.HardStop()
		e.Close()
	})
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		t.Fatal("etcd does not become ready")
	}
	return cfg.ListenClientUrls[0].String()
}

// suspend stops a broker in its tracks, and returns once none of its threads runs.
func suspend(t *testing.T, b *harness.Broker) {
	t.Helper()
	require.NoError(t, syscall.Kill(b.PID(), syscall.SIGSTOP))
	harness.Eventually(t, time.Minute, "the broker does not stand still", func() bool {
		tasks, err := filepath.Glob("/proc/" + strconv.Itoa(b.PID()) + "/task/*/stat")
		require.NoError(t, err)
		return len(tasks) > 0 && !slices.ContainsFunc(tasks, func(path string) bool {
			stat, err := os.ReadFile(path)
			_, state, _ := strings.Cut(string(stat), ") ")
			return err == nil && !strings.HasPrefix(state, "T")
		})
	})
}

// TestSleeperCommitsNothingThatIsGone (I-10): an uploader is suspended after its segment was stored and before it
// commits, for longer than the grace period. Another process takes the cluster over meanwhile, as when a frozen machine
// is started again from a copy of its disk. Its collector finds an orphan, raises the gc fence and deletes it. The
// other's own uploads are refused by its store, so that the ledger ends where it did and its epoch is the same:
// nothing but the fence can keep the sleeper from committing what is gone once it wakes up.
func TestSleeperCommitsNothingThatIsGone(t *testing.T) {
	t.Parallel()
	bucket := objecttest.Shared(t)
	etcd := startEtcd(t)
	store := bucket.StoreURL("minio", "")
	before := func() *harness.FaultyProxy { return harness.NewFaultyProxy(t, bucket.Endpoint, 0) }

	asleep := before()
	sleeper := harness.Start(t, harness.Options{Etcd: etcd, Store: asleep.Before(store, bucket.Endpoint)}) // it collects nothing itself for an hour
	sleeper.MustRun("", "topic", "create", "events", "-p", "1", "-c", "firn.remote.upload.max.lag.ms=100", "-c", "segment.bytes=1048576",
		"-c", "local.retention.ms=1000")
	sleeper.MustRun(lines("first", 0, 100), "produce", "events")
	sleeper.WaitArchived(t, "events", time.Minute)
	held := asleep.HoldSegment()
	sleeper.MustRun(lines("second", 0, 100), "produce", "events")
	receive(t, held.Stored, "nothing was uploaded")
	suspend(t, sleeper)

	awake := before()
	awake.RefuseSegments(true)
	data := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.CopyFS(data, os.DirFS(sleeper.Options.Data)))
	other := harness.Start(t, harness.Options{Etcd: etcd, Data: data, Store: awake.Before(store, bucket.Endpoint), Args: eager})
	require.Contains(t, segmentKeys(t, bucket), held.Key(), "the orphan went before there was anybody to collect it")
	harness.Eventually(t, time.Minute, "the orphan is not collected", func() bool {
		return !slices.Contains(segmentKeys(t, bucket), held.Key())
	})

	// The sleeper hears that its upload went well.
	held.Release()
	receive(t, held.Sent, "the answer does not reach the sleeper's machine")
	require.NoError(t, syscall.Kill(sleeper.PID(), syscall.SIGCONT))
	harness.Eventually(t, time.Minute, "the ledger did not refuse what is gone", func() bool {
		require.NotContains(t, sleeper.Log(), "is damaged", "what is gone was committed")
		return sleeper.Metric("firn_upload_refused_total") == 1
	})

	// It uploads the same records once more, and what the ledger names is there.
	sleeper.WaitArchived(t, "events", time.Minute)
	other.Stop()
	sleeper.WaitTiers(t, "events", time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == 200 })
	sleeper.Stop()
	require.NoError(t, os.RemoveAll(filepath.Join(sleeper.Options.Data, "cache")))
	sleeper.Launch()
	sleeper.WaitReady()
	require.Equal(t, lines("first", 0, 100)+lines("second", 0, 100), consumed(sleeper, "events"))
	require.NotContains(t, sleeper.Log(), "is damaged")
}

func receive(t *testing.T, c <-chan struct{}, sentence string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatal(sentence)
	}
}
