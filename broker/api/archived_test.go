package api

import (
	"bytes"
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/upload"
)

// archivedBatches of the archive's topic, of 1,000 bytes and a header each, were archived, and are on local disk no more.
const archivedBatches = 200

// archiveEnv is a server on a real socket with the topic "old" of two partitions, all of which lies in the archive, and the
// topic "live" of two partitions, which have nothing. The cache holds all of the archive.
func archiveEnv(t testing.TB) (addr string) {
	store := metatestBroker(t)
	folder := inFolder{disk.OS(), t.TempDir()}
	e := newEnvWith(t, store, folder, quietLog, archiveOf(t, store))
	e.create("old", 2, "remote.storage.enable", "true", "local.retention.ms", "1",
		"firn.remote.segment.bytes", "65536", "firn.remote.upload.max.lag.ms", "100")
	e.create("live", 2, "remote.storage.enable", "false")
	e.a.Configs = settled{e.a.Configs, e.a.Configs.Values()}
	addr = serve(t, e)
	c := dialRaw(t, addr)
	for range archivedBatches {
		c.send(produceFrame("old", 2, 1))
		c.accepted("old")
	}
	for i := range int32(2) {
		p, err := e.parts.ByName("old", i)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			e.parts.Housekeep(context.Background())
			pos, err := p.ListOffset(context.Background(), partition.OffsetQuery{Timestamp: partition.EarliestLocal, LeaderEpoch: -1})
			return err == nil && pos.Offset == archivedBatches
		}, time.Minute, time.Millisecond)
	}
	for i := range int64(archivedBatches) {
		for range 100 { // a try may be too late
			c.send(archivedFrame(i, 3000, 2, 0))
			if len(c.answer()) > 2000 {
				break
			}
		}
	}
	return addr
}

// archiveOf gives partitions an archive in a folder.
func archiveOf(t testing.TB, meta *metatest.Memory) func(*partition.Options) {
	store, err := dir.Open(t.TempDir())
	require.NoError(t, err)
	img := meta.Image()
	ups, err := upload.New(upload.Options{Store: store, Ledgers: meta, Layout: layout.Layout{ClusterID: img.ClusterID, Generation: img.Generation},
		SpoolDir: t.TempDir(), Settle: time.Millisecond, Logger: quietLog})
	require.NoError(t, err)
	reader, err := cold.New(cold.Options{Store: store, CacheDir: t.TempDir(), Logger: quietLog})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = ups.Close(context.Background(), false)
		_ = reader.Close()
	})
	return func(o *partition.Options) {
		o.Archive, o.Uploads = partition.OnArchive(reader), ups
		o.Now = func() time.Time { return time.Now().Add(time.Hour) } // the local retention is over
	}
}

// A fetch that the cache of the archive answers allocates no more than one of local records: of one partition, of several, and
// beside partitions that have nothing new.
func TestArchivedFetchAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random, so allocations can't be counted")
	}
	c := dialRaw(t, archiveEnv(t))
	for name, f := range archivedFetches() {
		noAllocations(t, name, func() {
			c.send(f.frame)
			if n := len(c.answer()); n < f.least {
				t.Fatalf("%s: an answer of %d bytes", name, n)
			}
		})
	}
}

// Nor does a request of Produce allocate anything for being archived and trimmed behind the producer: what an upload, a new
// segment file and a trim take is less than one allocation for every other request.
func TestProduceAllocationsBesideUploads(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random, so allocations can't be counted")
	}
	const piece, runs, together, records = 4 << 20, 400, 16, 2
	store := metatestBroker(t)
	e := newEnvWith(t, store, inFolder{disk.OS(), t.TempDir()}, quietLog, archiveOf(t, store))
	e.create("moving", 1, "remote.storage.enable", "true", "local.retention.ms", "1",
		"segment.bytes", strconv.Itoa(piece), "firn.remote.segment.bytes", strconv.Itoa(piece))
	e.a.Configs = settled{e.a.Configs, e.a.Configs.Values()}
	c := dialRaw(t, serve(t, e))
	p, err := e.parts.ByName("moving", 0)
	require.NoError(t, err)
	frames := bytes.Repeat(produceFrame("moving", 1, records), together)
	end := int64(0)
	fewAllocationsIn(t, runs, runs*together/2, "produce beside uploads and trims", func() {
		c.send(frames)
		for range together {
			c.accepted("moving")
		}
		end += together * records
		if end%(runs*together*records/4) == 0 {
			for store.CachedLedger(p.ID()).Next < end-2*piece/1000 {
				time.Sleep(time.Millisecond)
			}
			e.parts.Housekeep(context.Background())
		}
	})
	pos, err := p.ListOffset(context.Background(), partition.OffsetQuery{Timestamp: partition.EarliestLocal, LeaderEpoch: -1})
	require.NoError(t, err)
	require.Greater(t, pos.Offset, end/4, "it was trimmed while it was produced to")
}

// BenchmarkArchivedFetch is a round trip from the socket to the cache of the archive and back.
func BenchmarkArchivedFetch(b *testing.B) {
	c := dialRaw(b, archiveEnv(b))
	for name, f := range archivedFetches() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.send(f.frame)
				c.answer()
			}
		})
	}
}

// archivedFetches are requests, by name, and what is answered at least.
func archivedFetches() map[string]archivedFetch {
	const batch, all = 1000, 1000 * archivedBatches
	return map[string]archivedFetch{
		"one batch of one":        {archivedFrame(0, 1, 1, 0), batch},
		"one":                     {archivedFrame(0, 1<<20, 1, 0), all},
		"several":                 {archivedFrame(0, 20_000, 2, 0), 2 * 9 * batch}, // copied
		"several, by sendfile":    {archivedFrame(0, 1<<20, 2, 0), 2 * all},
		"several, and two at end": {archivedFrame(0, 1<<20, 2, 2), 2 * all},
	}
}

type archivedFetch struct {
	frame []byte
	least int
}

// archivedFrame is a Fetch of so many partitions of each topic, of the archived ones from an offset on.
func archivedFrame(offset int64, maxBytes, old, live int32) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.SessionEpoch = 1, maxBytes, -1
	for name, n := range map[string]int32{"old": old, "live": live} {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = name
		for p := range n {
			q := kmsg.NewFetchRequestTopicPartition()
			q.Partition, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, maxBytes, -1
			if name == "old" {
				q.FetchOffset = offset
			}
			t.Partitions = append(t.Partitions, q)
		}
		if n > 0 {
			req.Topics = append(req.Topics, t)
		}
	}
	return frameOf(req, 12)
}
