package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/measure"
	"github.com/firnlog/firn/tier/object/objecttest"
)

// archiveCases are the cases that read from the archive or write to it: e, f and g.
func archiveCases() []Case {
	all := coldCases()
	return append(append(all, localCases()...), replayCase(), uploadCase())
}

const (
	firnEmpty, firnWarm     = "firn empty cache", "firn warm cache"
	readerEmpty, readerWarm = "reader empty cache", "reader warm cache"
	bareGets                = "bare GETs"

	// leastRoom is what firn keeps in its cache by default; a warm cache has that at least.
	leastRoom = 1 << 30
	// readerRoom is what the reader keeps by default.
	readerRoom = 4 << 30
)

// coldCases: case e from MinIO.
func coldCases() []Case {
	what := func(n int) string {
		return fmt.Sprintf("%s that lie in MinIO only, each read from its start to its end by a consumer that does not decode. With an empty cache the server is started anew before each time, with firn's default configuration; with a warm one everything comes from there, again and again: the cache is given room for twice as much (firn.remote.cache.bytes, 1 GiB by default), and everything was read before. The bare GETs are of the same objects, by the same client, thrown away; their CPU is that of the client.", partitionsOf(n))
	}
	bars := []Bar{
		{Figure: judge.CPUPerGB, Side: firnEmpty, Beside: readerEmpty, AtMost: 1.3},
		{Figure: judge.MBPerSecond, Side: firnEmpty, Beside: readerEmpty, AtLeast: 0.8},
	}
	cold := func(name string, n int, codec func() ([]measure.Payload, error), bars []Bar, more string) Case {
		return Case{
			Name: name, About: what(n) + more, Bars: bars, Memory: func(b *Bench) int64 { return 4 * b.Bytes },
			Prepare: func(ctx context.Context, b *Bench) ([]Side, error) { return b.coldSides(ctx, n, codec) },
		}
	}
	noise := func() ([]measure.Payload, error) { return largeBatches("plain", variety) }
	return []Case{
		cold("e cold read, MinIO, 1 partition", 1, noise, bars, ""),
		cold("e cold read, MinIO, 1 partition, compressible", 1, eventBatches, bars, " The records compress, though their producer did not do it: the archive did."),
		cold("e cold read, MinIO, 6 partitions", 6, noise, nil, ""),
	}
}

// eventBatches are uncompressed batches that the archive can compress.
func eventBatches() ([]measure.Payload, error) {
	all := make([]measure.Payload, variety)
	for i := range all {
		all[i] = measure.NewPayload(largeRecords, recordSize-recordExtra, measure.Events(uint64(i)))
	}
	return all, nil
}

// archive is a MinIO server of the case's own.
type archive struct {
	server *objecttest.MinIO
	bucket string
	url    string
}

// startArchive starts a MinIO, which ends with the case. The error wraps ErrSkip where there is none.
func (b *Bench) startArchive(ctx context.Context) (*archive, error) {
	dir, err := b.Dir("minio")
	if err != nil {
		return nil, err
	}
	server, err := objecttest.StartMinIO(dir)
	if errors.Is(err, objecttest.ErrNoMinIO) {
		err = fmt.Errorf("%w: %w", ErrSkip, err)
	}
	if err != nil {
		return nil, err
	}
	b.Cleanup(server.Close)
	bucket, err := server.NewBucket(ctx, "bench")
	if err != nil {
		return nil, err
	}
	return &archive{server: server, bucket: bucket, url: server.URL("minio", bucket, "")}, nil
}

// coldSet are topics of one partition each that are archived, and where they end.
type coldSet struct {
	topics []string
	ends   []int64
	bytes  int64
}

// fillCold writes bytes to topics of one partition each and waits until all is in the archive and nowhere else.
func (b *Bench) fillCold(ctx context.Context, s *Server, topics int, bytes int64, batches []measure.Payload) (coldSet, error) {
	set := coldSet{bytes: bytes}
	for range topics {
		b.topics++
		topic := fmt.Sprintf("bench-cold-%05d", b.topics)
		if err := s.CreateTopic(ctx, topic, 1, map[string]string{"local.retention.ms": "1000", "segment.bytes": "16777216", "firn.remote.upload.max.lag.ms": "1000"}); err != nil {
			return set, err
		}
		p, err := measure.Pipelined{Addr: s.Addr, Topic: topic, Partitions: 1, Conns: 1, InFlight: inFlight, Batches: batches}.Start()
		if err != nil {
			return set, err
		}
		_, err = p.RunBytes(ctx, bytes/int64(topics))
		if err := errors.Join(err, p.Close()); err != nil {
			return set, err
		}
		ends, err := s.Ends(ctx, topic)
		if err != nil {
			return set, err
		}
		set.topics, set.ends = append(set.topics, topic), append(set.ends, ends[0])
	}
	for _, t := range set.topics {
		if err := s.await(ctx, func() bool {
			return s.tiers(t, func(r harness.Tiers) bool { return r.ColdEnd == r.HotEnd && r.HotStart == r.HotEnd })
		}); err != nil {
			return set, fmt.Errorf("%s is not in the archive alone: %w", t, err)
		}
	}
	return set, b.settle()
}

// tiers tells whether cond holds for each partition of a topic of firn.
func (s *Server) tiers(topic string, cond func(harness.Tiers) bool) bool {
	res, err := http.Get("http://" + s.HTTP + "/v1/tiers/" + topic)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	var rows []harness.Tiers
	if json.NewDecoder(res.Body).Decode(&rows) != nil || len(rows) == 0 {
		return false
	}
	for _, r := range rows {
		if !cond(r) {
			return false
		}
	}
	return true
}

// read has a consumer for each topic, all at once, for the time given, or once through with length 0.
func (c coldSet) read(ctx context.Context, addr string, length time.Duration) (measure.Read, error) {
	var (
		wg   sync.WaitGroup
		all  = make([]measure.Read, len(c.topics))
		errs = make([]error, len(c.topics))
		sum  measure.Read
	)
	for i, t := range c.topics {
		wg.Go(func() {
			all[i], errs[i] = measure.Reading{Addr: addr, Topic: t, Ends: c.ends[i : i+1], Consumers: 1}.Run(ctx, length)
		})
	}
	wg.Wait()
	for i := range all {
		sum.Bytes += all[i].Bytes
		sum.Requests += all[i].Requests
		sum.Latencies.Merge(&all[i].Latencies)
	}
	return sum, errors.Join(errs...)
}

// archivedFirn starts a firn of its own that archives to a MinIO of its own.
func (b *Bench) archivedFirn(ctx context.Context, name string) (*Server, *archive, error) {
	store, err := b.startArchive(ctx)
	if err != nil {
		return nil, nil, err
	}
	firn, err := b.StartFirn(ctx, FirnOptions{Name: name, Store: store.url})
	return firn, store, err
}

// coldSides are firn and the reader with empty and with warm caches, and the bare GETs.
func (b *Bench) coldSides(ctx context.Context, topics int, codec func() ([]measure.Payload, error)) ([]Side, error) {
	firn, store, err := b.archivedFirn(ctx, "firn-cold")
	if err != nil {
		return nil, err
	}
	batches, err := codec()
	if err != nil {
		return nil, err
	}
	set, err := b.fillCold(ctx, firn, topics, b.Bytes, batches)
	if err != nil {
		return nil, err
	}
	sides := b.cacheSides(firnEmpty, firnWarm, firn, set)
	if b.Wants(readerEmpty) || b.Wants(readerWarm) {
		reader, err := b.startReader(ctx, store, max(readerRoom, 2*set.bytes))
		if err != nil {
			return nil, err
		}
		sides = append(sides, b.cacheSides(readerEmpty, readerWarm, reader, set)...)
	}
	return append(sides, Side{Name: bareGets, Round: store.getAll}), nil
}

// startReader starts the reference reader on what is in the store by then.
func (b *Bench) startReader(ctx context.Context, a *archive, cacheBytes int64) (*Server, error) {
	dir, err := b.Dir("reader")
	if err != nil {
		return nil, err
	}
	return b.StartLimit(ctx, "reader", "-endpoint", a.server.Endpoint, "-bucket", a.bucket, "-credentials", a.server.CredentialsFile,
		"-cache", dir, "-cache-bytes", strconv.FormatInt(cacheBytes, 10))
}

// cacheSides are those of a server whose cache is empty when it starts.
func (b *Bench) cacheSides(empty, warm string, s *Server, set coldSet) []Side {
	return []Side{
		{Name: empty, Round: func(ctx context.Context, length time.Duration) (Figures, error) {
			if err := s.cacheRoom(ctx, 0); err != nil {
				return nil, err
			}
			var sum measure.Cost
			var all measure.Read
			for sum.Took < length || all.Requests == 0 {
				if err := errors.Join(s.Stop(), s.Restart(ctx)); err != nil {
					return nil, err
				}
				got, cost, err := set.measured(ctx, s, 0)
				if err != nil {
					return nil, err
				}
				sum = plus(sum, cost)
				all.Bytes += got.Bytes
				all.Requests += got.Requests
				all.Latencies.Merge(&got.Latencies)
			}
			return perGB(sum, all.Bytes).Add(latencies(&all.Latencies)), nil
		}},
		{Name: warm, Round: func(ctx context.Context, length time.Duration) (Figures, error) {
			if err := s.cacheRoom(ctx, max(leastRoom, 2*set.bytes)); err != nil {
				return nil, err
			}
			for range 2 {
				if _, err := set.read(ctx, s.Addr, 0); err != nil {
					return nil, err
				}
			}
			if err := b.settle(); err != nil { // what filled the cache
				return nil, err
			}
			got, cost, err := set.measured(ctx, s, length)
			if err != nil {
				return nil, err
			}
			return perGB(cost, got.Bytes).Add(latencies(&got.Latencies)), nil
		}},
	}
}

// cacheRoom sets how many bytes firn's cache may hold, or leaves it to its configuration (0), and waits until that
// counts. A reference program keeps what it was started with.
func (s *Server) cacheRoom(ctx context.Context, bytes int64) error {
	if s.HTTP == "" {
		return nil
	}
	const key = "firn.remote.cache.bytes"
	change := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key}
	if bytes > 0 {
		change = kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: kadm.StringPtr(strconv.FormatInt(bytes, 10))}
	}
	err := s.admin(func(a *kadm.Client) error {
		answers, err := a.AlterBrokerConfigs(ctx, []kadm.AlterConfig{change})
		for _, r := range answers {
			err = errors.Join(err, r.Err)
		}
		return err
	})
	if err == nil && bytes > 0 {
		err = s.await(ctx, func() bool { return s.metric("firn_cold_cache_limit_bytes") == float64(bytes) })
	}
	if err != nil {
		return fmt.Errorf("set %s of %s: %w", key, s.Name, err)
	}
	return nil
}

// metric reads a metric without labels of firn's; -1 where there is none.
func (s *Server) metric(name string) float64 {
	v, err := harness.MetricAt(s.HTTP, name)
	if err != nil {
		return -1
	}
	return v
}

// measured is read with what it costs the server.
func (c coldSet) measured(ctx context.Context, s *Server, length time.Duration) (measure.Read, measure.Cost, error) {
	m, err := s.meter()
	if err != nil {
		return measure.Read{}, measure.Cost{}, err
	}
	got, err := c.read(ctx, s.Addr, length)
	cost, costErr := m.Stop()
	return got, cost, errors.Join(err, costErr)
}

// plus is the cost of two pieces of work that came one after the other.
func plus(a, b measure.Cost) measure.Cost {
	return measure.Cost{
		Took: a.Took + b.Took, CPU: a.CPU + b.CPU, ClientCPU: a.ClientCPU + b.ClientCPU, Written: a.Written + b.Written, Device: a.Device + b.Device,
		Peak: max(a.Peak, b.Peak), Switches: a.Switches + b.Switches, Syscalls: a.Syscalls + b.Syscalls,
	}
}

const (
	getSize    = 8 << 20 // of one bare GET
	getWorkers = 8
	getBuffer  = 64 << 10
)

// getAll reads every segment in the bucket by parallel ranged GETs, again and again, and throws the bytes away: what the
// store can give. It reads as much at a time as the reference reader.
func (a *archive) getAll(ctx context.Context, length time.Duration) (Figures, error) {
	cl, err := miniogo.NewCore(a.server.Endpoint, &miniogo.Options{Creds: credentials.NewStaticV4(a.server.AccessKey, a.server.SecretKey, ""), Region: "us-east-1",
		Transport: &http.Transport{MaxIdleConnsPerHost: getWorkers, DisableCompression: true, ReadBufferSize: getBuffer}})
	if err != nil {
		return nil, err
	}
	m, err := measure.StartMeter(os.Getpid(), "")
	if err != nil {
		return nil, err
	}
	var total int64
	for begin := time.Now(); time.Since(begin) < length; {
		n, err := a.getOnce(ctx, cl)
		if err != nil {
			return nil, err
		}
		total += n
	}
	cost, err := m.Stop()
	if err != nil {
		return nil, err
	}
	return perGB(cost, total), nil
}

func (a *archive) getOnce(ctx context.Context, cl *miniogo.Core) (int64, error) {
	type part struct {
		key      string
		from, to int64
	}
	var (
		parts = make(chan part)
		wg    sync.WaitGroup
		sums  [getWorkers]int64
		errs  [getWorkers + 1]error
	)
	for i := range getWorkers {
		wg.Go(func() {
			for p := range parts {
				n, err := get(ctx, cl, a.bucket, p.key, p.from, p.to)
				sums[i] += n
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	for o := range cl.Client.ListObjects(ctx, a.bucket, miniogo.ListObjectsOptions{Recursive: true}) {
		errs[getWorkers] = errors.Join(errs[getWorkers], o.Err)
		for from := int64(0); from < o.Size; from += getSize {
			parts <- part{o.Key, from, min(from+getSize, o.Size) - 1}
		}
	}
	close(parts)
	wg.Wait()
	var total int64
	for _, n := range sums {
		total += n
	}
	if total == 0 {
		errs[getWorkers] = errors.Join(errs[getWorkers], errors.New("the bucket holds nothing to read"))
	}
	return total, errors.Join(errs[:]...)
}

func get(ctx context.Context, cl *miniogo.Core, bucket, key string, from, to int64) (int64, error) {
	var o miniogo.GetObjectOptions
	if err := o.SetRange(from, to); err != nil {
		return 0, err
	}
	body, _, _, err := cl.GetObject(ctx, bucket, key, o)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, make([]byte, getBuffer)) // not the discarder's own, which is of 8 KiB
}
