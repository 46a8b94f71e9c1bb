// Package external runs firn against an etcd that is not its own: what survives which of the two going away.
package external

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/firnlog/firn/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// etcdServer is an etcd on loopback that can be stopped and started again on the same folder and address.
type etcdServer struct {
	t        *testing.T
	dir      string
	client   url.URL
	peer     url.URL
	instance *embed.Etcd
}

func startEtcd(t *testing.T) *etcdServer {
	t.Helper()
	at := func() url.URL { return url.URL{Scheme: "http", Host: harness.FreeAddr(t)} }
	e := &etcdServer{t: t, dir: filepath.Join(t.TempDir(), "etcd"), client: at(), peer: at()}
	e.start()
	t.Cleanup(e.stop)
	return e
}

func (e *etcdServer) start() {
	e.t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.UnsafeNoFsync = e.dir, "fatal", true
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{e.client}, []url.URL{e.client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{e.peer}, []url.URL{e.peer}
	cfg.InitialCluster = cfg.Name + "=" + e.peer.String()
	var err error
	e.instance, err = embed.StartEtcd(cfg)
	require.NoError(e.t, err)
	select {
	case <-e.instance.Server.ReadyNotify():
	case <-time.After(time.Minute):
		e.t.Fatal("etcd does not become ready")
	}
}

func (e *etcdServer) stop() {
	if e.instance != nil {
		e.instance.Server.HardStop() // no farewell to its clients
		e.instance.Close()
		e.instance = nil
	}
}

func client(t *testing.T, b *harness.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Kafka))...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func produce(t *testing.T, b *harness.Broker, topic string, lines ...string) {
	t.Helper()
	b.MustRun(strings.Join(lines, "\n")+"\n", "produce", topic)
}

func consume(t *testing.T, b *harness.Broker, topic string) string {
	t.Helper()
	return b.MustRun("", "consume", topic, "--from", "earliest", "--to", "latest")
}

// TestSurvivesRestarts: topics and records outlive the broker, a kill of it, and a restart of etcd.
func TestSurvivesRestarts(t *testing.T) {
	e := startEtcd(t)
	b := harness.Start(t, harness.Options{Etcd: e.client.String()})
	b.MustRun("", "topic", "create", "kept", "-p", "1")
	produce(t, b, "kept", "one")
	b.Stop()
	b.Launch()
	b.WaitReady()
	require.Equal(t, "one\n", consume(t, b, "kept"))
	produce(t, b, "kept", "two")
	b.Kill()
	b.Launch()
	b.WaitReady()
	require.Equal(t, "one\ntwo\n", consume(t, b, "kept"))
	b.Stop()
	e.stop()
	e.start()
	b.Launch()
	b.WaitReady()
	produce(t, b, "kept", "three")
	require.Equal(t, "one\ntwo\nthree\n", consume(t, b, "kept"))
	require.Contains(t, b.MustRun("", "topic", "list"), "kept")
	require.NoDirExists(t, filepath.Join(b.Options.Data, "metadata"), "an etcd of its own was started all the same")
}

// TestNobodyThere: a broker that finds no etcd says where it looked, and ends.
func TestNobodyThere(t *testing.T) {
	one, two := harness.FreeAddr(t), harness.FreeAddr(t)
	b := harness.New(t, harness.Options{Etcd: one + "," + two})
	b.Launch()
	select {
	case <-b.Ended():
	case <-time.After(2 * time.Minute):
		t.Fatal("the broker neither serves nor ends")
	}
	require.NotZero(t, b.Exit().ExitCode())
	require.Contains(t, b.Log(), one)
	require.Contains(t, b.Log(), two)
	require.NotContains(t, b.Log(), "goroutine ")
}

// TestEtcdGoesAway (I-29, a quorum of one): what exists is served on while etcd is away, what needs metadata is
// refused with an error that clients retry, and all heals by itself.
func TestEtcdGoesAway(t *testing.T) {
	e := startEtcd(t)
	b := harness.Start(t, harness.Options{Etcd: e.client.String()})
	b.MustRun("", "topic", "create", "steady", "-p", "1")
	cl := client(t, b, kgo.DefaultProduceTopic("steady"), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"steady": {0: kgo.NewOffset().At(0)}}))
	adm := kadm.NewClient(client(t, b))
	sent := 0
	round := func() {
		t.Helper()
		ctx := within(t, time.Minute)
		require.NoError(t, cl.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr())
		sent++
		for read := 0; read == 0; {
			fs := cl.PollFetches(ctx)
			require.NoError(t, fs.Err())
			read = fs.NumRecords()
		}
	}
	round()
	e.stop()
	for range 20 {
		round()
	}
	adm.SetTimeoutMillis(3000)
	res, err := adm.CreateTopics(within(t, time.Minute), 1, 1, nil, "while-away")
	if err == nil {
		err = res["while-away"].Err
	}
	require.Error(t, err, "a topic was made without metadata")
	require.True(t, kerr.IsRetriable(err), "%v is not retriable", err)
	fresh := client(t, b) // somebody who comes now finds everything, too
	list, err := kadm.NewClient(fresh).ListEndOffsets(within(t, time.Minute), "steady")
	require.NoError(t, err)
	end, _ := list.Lookup("steady", 0)
	require.NoError(t, end.Err)
	require.Equal(t, int64(sent), end.Offset)

	e.start()
	harness.Eventually(t, time.Minute, "no topic can be made after etcd came back", func() bool {
		res, err := adm.CreateTopics(within(t, time.Minute), 1, 1, nil, "afterwards")
		return err == nil && (res["afterwards"].Err == nil || errors.Is(res["afterwards"].Err, kerr.TopicAlreadyExists))
	})
	round()
	produce(t, b, "afterwards", "hello")
	require.Equal(t, "hello\n", consume(t, b, "afterwards"))
	b.Stop()
	b.Launch()
	b.WaitReady()
	require.Equal(t, strings.Repeat("x\n", sent), consume(t, b, "steady"))
}
