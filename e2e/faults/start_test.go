// Package faults gives the broker a full disk, dead and lying stores, used folders and ports, and looks at what
// it says and keeps.
package faults

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// refused starts a broker that must not start, and returns what it printed.
func refused(t *testing.T, b *harness.Broker) string {
	t.Helper()
	select {
	case <-b.Ended():
	case <-time.After(time.Minute):
		t.Fatal("the broker should have refused to start")
	}
	require.NotZero(t, b.Exit().ExitCode())
	return b.Log()
}

func TestSecondStartOnUsedFolderOrPort(t *testing.T) {
	first := harness.Start(t, harness.Options{})

	sameFolder := harness.New(t, harness.Options{Data: first.Options.Data})
	sameFolder.Launch()
	log := refused(t, sameFolder)
	require.Contains(t, log, first.Options.Data)
	require.Contains(t, log, "in use")

	samePort := harness.New(t, harness.Options{})
	samePort.Kafka = first.Kafka
	samePort.Launch()
	log = refused(t, samePort)
	require.Contains(t, log, first.Kafka)
	require.Contains(t, log, "in use")

	// The first one noticed nothing.
	first.MustRun("x\n", "produce", "still-here")
	require.Equal(t, "x\n", first.MustRun("", "consume", "still-here", "--from", "earliest", "--to", "latest"))
}

func TestBadStoreAtStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // an address where nothing answers once it is closed
	require.NoError(t, err)
	dead := l.Addr().String()
	require.NoError(t, l.Close())
	for name, c := range map[string]struct {
		url  string
		env  []string
		says string
	}{
		"unknown scheme":    {"ftp://host/bucket", nil, "ftp"},
		"unknown parameter": {"s3://bucket/prefix?regoin=eu", nil, "regoin"},
		"nobody answers":    {"minio://" + dead + "/bucket?secure=false", []string{"MINIO_ACCESS_KEY=key", "MINIO_SECRET_KEY=hunter2hunter2"}, dead},
		"credentials in it": {"minio://user:hunter2hunter2@" + dead + "/bucket?secure=false", nil, "credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			b := harness.New(t, harness.Options{Store: c.url, Env: c.env})
			b.Launch()
			log := refused(t, b)
			require.Contains(t, log, c.says)
			require.NotContains(t, log, "hunter2", "credentials are never logged")
			require.NotContains(t, log, "panic")
		})
	}
}

// TestCleanStop: SIGTERM drains and marks a clean stop, so that the next start scans nothing.
func TestCleanStop(t *testing.T) {
	b := harness.Start(t, harness.Options{})
	b.MustRun("one\ntwo\n", "produce", "lines")
	b.Stop()
	marker := false
	require.NoError(t, filepath.WalkDir(b.Options.Data, func(path string, d os.DirEntry, err error) error {
		marker = marker || err == nil && d.Name() == ".kafka_cleanshutdown"
		return err
	}))
	require.True(t, marker, "no clean stop was marked")
	b.Launch()
	b.WaitReady()
	require.Equal(t, "one\ntwo\n", b.MustRun("", "consume", "lines", "--from", "earliest", "--to", "latest"))
	require.NotContains(t, strings.ToLower(b.Log()), "recover")
}
