package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/measure"
	"github.com/firnlog/firn/tier/object/objecttest"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestReader: what firn archived comes back byte for byte, raw chunks and compressed ones, from every offset on, with a
// cache that holds all and one that holds a fraction; and a chunk that is damaged in the store is never served.
func TestReader(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server, err := objecttest.StartMinIO(filepath.Join(t.TempDir(), "minio"))
	if errors.Is(err, objecttest.ErrNoMinIO) {
		harness.Missing(t, err.Error())
	}
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	bucket, err := server.NewBucket(ctx, "limit")
	require.NoError(t, err)

	b := harness.Start(t, harness.Options{Store: server.URL("minio", bucket, "")})
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka))
	require.NoError(t, err)
	defer cl.Close()
	size, often := "4194304", "1000"
	_, err = kadm.NewClient(cl).CreateTopic(ctx, 2, 1, map[string]*string{"firn.remote.segment.bytes": &size, "segment.bytes": &size, "firn.remote.upload.max.lag.ms": &often}, "cold")
	require.NoError(t, err)
	raw, packed := measure.NewPayload(50, 1000, measure.Noise(1)), measure.NewPayload(70, 1000, measure.Events(1))
	p, err := measure.Pipelined{Addr: b.Kafka, Topic: "cold", Partitions: 2, Conns: 2, InFlight: 2, Batches: []measure.Payload{raw, packed, raw, raw}}.Start()
	require.NoError(t, err)
	_, err = p.RunBytes(ctx, 16<<20)
	require.NoError(t, err)
	require.NoError(t, p.Close())
	rows := b.WaitArchived(t, "cold", time.Minute)

	start := func(cache int64) *reader {
		r, err := newReader(readerOptions{Addr: loopback, Endpoint: server.Endpoint, Bucket: bucket, Credentials: server.CredentialsFile, Cache: t.TempDir(),
			CacheBytes: cache})
		require.NoError(t, err)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.getBytes, r.aheadBytes = 2<<20, 4<<20 // less than a partition has
		return r
	}
	all, little := start(0), start(1)
	for _, row := range rows {
		want := readAll(t, b.Kafka, "cold", row.Partition, 0, row.HotEnd, 1<<20, 1)
		require.Greater(t, len(want), 4<<20)
		for range 2 { // empty, then warm
			require.True(t, bytes.Equal(want, readAll(t, all.Addr(), "cold", row.Partition, 0, row.HotEnd, 1<<20, 1)))
			require.True(t, bytes.Equal(want, readAll(t, little.Addr(), "cold", row.Partition, 0, row.HotEnd, 3<<20, 2)))
		}
		for _, from := range []int64{1, 49, 50, 51, row.HotEnd / 2, row.HotEnd - 1} {
			part := readAll(t, little.Addr(), "cold", row.Partition, from, row.HotEnd, 1<<20, 2)
			require.True(t, bytes.HasSuffix(want, part))
			first := measure.After(part[:batchSize(part)], 0)
			require.Greater(t, first, from)
			require.LessOrEqual(t, first, from+70)
		}
	}
	require.LessOrEqual(t, little.used, int64(3*4<<20+4<<20), "what is in use, no more")
	require.NoError(t, all.Close())
	require.NoError(t, little.Close())

	damageAll(t, server, bucket)
	r := start(0)
	c := dial(t, r.Addr())
	require.NoError(t, c.Send(fetchRequest("cold", 0, 0, 1<<20, 1)))
	_, err = c.Head()
	require.Error(t, err)
	require.ErrorIs(t, r.Close(), errChecksum)
}

// damageAll flips a bit in the first chunk of every segment.
func damageAll(t *testing.T, server *objecttest.MinIO, bucket string) {
	t.Helper()
	ctx := context.Background()
	cl, err := miniogo.NewCore(server.Endpoint, &miniogo.Options{Creds: credentials.NewStaticV4(server.AccessKey, server.SecretKey, "")})
	require.NoError(t, err)
	changed := 0
	for o := range cl.Client.ListObjects(ctx, bucket, miniogo.ListObjectsOptions{Recursive: true}) {
		require.NoError(t, o.Err)
		if !harness.IsSegment(o.Key) {
			continue
		}
		body, _, _, err := cl.GetObject(ctx, bucket, o.Key, miniogo.GetObjectOptions{})
		require.NoError(t, err)
		b, err := io.ReadAll(body)
		require.NoError(t, err)
		b[5000] ^= 1
		_, err = cl.PutObject(ctx, bucket, o.Key, bytes.NewReader(b), int64(len(b)), "", "", miniogo.PutObjectOptions{})
		require.NoError(t, err)
		changed++
	}
	require.Greater(t, changed, 2)
}

// An index that is cut or changed anywhere is refused, never believed.
func TestDamagedIndex(t *testing.T) {
	_, err := indexBytes([]byte("short"), 5)
	require.ErrorIs(t, err, errSegment)
	_, err = indexBytes([]byte(strings.Repeat("x", 100)), 100)
	require.ErrorIs(t, err, errSegment)
	_, err = parseIndex("key", make([]byte, 200))
	require.ErrorIs(t, err, errSegment)
}

// TestObjectGoneSinceItWasListed: a broker that lives beside the reader deletes markers of its own. Only that they are not there
// is no failure.
func TestObjectGoneSinceItWasListed(t *testing.T) {
	t.Parallel()
	creds := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(creds, []byte("[default]\naws_access_key_id = k\naws_secret_access_key = s\n"), 0o600))
	for code, status := range map[string]int{"NoSuchKey": http.StatusNotFound, "AccessDenied": http.StatusForbidden} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("list-type") {
				_, _ = io.WriteString(w, `<ListBucketResult><Contents><Key>markers/1</Key><Size>100</Size></Contents></ListBucketResult>`)
				return
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code></Error>")
		}))
		defer server.Close()
		s, err := openStore(readerOptions{Endpoint: server.Listener.Addr().String(), Bucket: "limit", Credentials: creds})
		require.NoError(t, err)
		found, err := s.segments(t.Context())
		if code == "NoSuchKey" {
			require.NoError(t, err)
			require.Empty(t, found)
		} else {
			require.ErrorContains(t, err, "markers/1")
		}
	}
}
