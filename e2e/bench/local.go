package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/javatools"
	"github.com/firnlog/firn/e2e/measure"
)

const kafkaTiered = "kafka tiered"

// localCases: case e from local files, which is what Kafka's tiered storage can read without somebody's plugin.
func localCases() []Case {
	return []Case{{
		Name:  "e cold read, local files, 1 partition",
		About: "What lies in the archive only, in local files: firn's `dir` store beside Kafka's tiered storage with LocalTieredStorage, the remote storage manager of its own tests. Read as from MinIO; firn's warm cache has all of it. Kafka, which has no cache of segments, has read as much as warms it.",
		Bars: []Bar{
			{Figure: judge.MBPerSecond, Side: firnEmpty, Beside: kafkaTiered, AtLeast: 3},
			{Figure: judge.MBPerSecond, Side: firnWarm, Beside: kafkaTiered, AtLeast: 3},
			{Figure: judge.CPUPerGB, Side: firnWarm, Beside: kafkaTiered, AtMost: 0.2},
		},
		Memory:  func(b *Bench) int64 { return 4 * b.Bytes },
		Prepare: func(ctx context.Context, b *Bench) ([]Side, error) { return b.localSides(ctx) },
	}}
}

func (b *Bench) localSides(ctx context.Context) ([]Side, error) {
	batches, err := largeBatches("plain", variety)
	if err != nil {
		return nil, err
	}
	var sides []Side
	if b.Wants(firnEmpty) || b.Wants(firnWarm) {
		firn, err := b.StartFirn(ctx, FirnOptions{Name: "firn-local"})
		if err != nil {
			return nil, err
		}
		set, err := b.fillCold(ctx, firn, 1, b.Bytes, batches)
		if err != nil {
			return nil, err
		}
		sides = b.cacheSides(firnEmpty, firnWarm, firn, set)
	}
	if !b.Wants(kafkaTiered) {
		return sides, nil
	}
	kafka, set, err := b.kafkaCold(ctx, batches)
	if errors.Is(err, ErrSkip) {
		b.say("%v", err)
		return sides, nil
	}
	if err != nil {
		return nil, err
	}
	for warm := int64(0); warm < b.Warm; warm += set.bytes {
		if _, err := set.read(ctx, kafka.Addr, 0); err != nil {
			return nil, err
		}
	}
	return append(sides, Side{Name: kafkaTiered, Round: func(ctx context.Context, length time.Duration) (Figures, error) {
		got, cost, err := set.measured(ctx, kafka, length)
		if err != nil {
			return nil, err
		}
		return perGB(cost, got.Bytes).Add(latencies(&got.Latencies)), nil
	}}), nil
}

// kafkaCold starts a Kafka with tiered storage, writes to a topic and waits until all but its last segment, which Kafka
// never moves, is in the remote storage only.
func (b *Bench) kafkaCold(ctx context.Context, batches []measure.Payload) (*Server, coldSet, error) {
	jars, err := javatools.Tiered.Get()
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrSkip, err)
	}
	if err != nil {
		return nil, coldSet{}, err
	}
	dir, err := b.Dir("kafka-remote")
	if err != nil {
		return nil, coldSet{}, err
	}
	// The plugin's class path is its own jar alone: the interface that it implements must be the broker's.
	kafka, err := b.StartKafka(ctx,
		"remote.log.storage.system.enable=true",
		"remote.log.storage.manager.class.name=org.apache.kafka.server.log.remote.storage.LocalTieredStorage",
		"remote.log.storage.manager.class.path="+filepath.Join(jars, "kafka-storage-"+javatools.Version+"-test.jar"),
		"remote.log.storage.manager.impl.prefix=rsm.config.", "rsm.config.dir="+dir,
		"remote.log.metadata.manager.listener.name=PLAINTEXT", "remote.log.metadata.manager.impl.prefix=rlmm.config.",
		"rlmm.config.remote.log.metadata.topic.replication.factor=1", "rlmm.config.remote.log.metadata.topic.num.partitions=1",
		"remote.log.manager.task.interval.ms=1000", "log.retention.check.interval.ms=1000", "log.initial.task.delay.ms=100",
	)
	if err != nil {
		return nil, coldSet{}, err
	}
	const topic, segment = "bench-cold", 64 << 20
	if err := kafka.CreateTopic(ctx, topic, 1, map[string]string{
		"remote.storage.enable": "true", "local.retention.ms": "1000", "retention.ms": "-1", "segment.bytes": strconv.Itoa(segment),
	}); err != nil {
		return nil, coldSet{}, err
	}
	p, err := measure.Pipelined{Addr: kafka.Addr, Topic: topic, Partitions: 1, Conns: 1, InFlight: inFlight, Batches: batches}.Start()
	if err != nil {
		return nil, coldSet{}, err
	}
	_, err = p.RunBytes(ctx, b.Bytes+segment)
	if err := errors.Join(err, p.Close()); err != nil {
		return nil, coldSet{}, err
	}
	set := coldSet{topics: []string{topic}, ends: []int64{0}, bytes: b.Bytes}
	var last error
	if err := kafka.await(ctx, func() bool {
		set.ends[0], last = onlySegment(filepath.Join(kafka.Logs, topic+"-0"))
		return last == nil
	}); err != nil {
		return nil, coldSet{}, fmt.Errorf("%w (%w)", err, last)
	}
	return kafka, set, b.settle()
}

// onlySegment gives the base offset of the one segment that is left in a partition's folder.
func onlySegment(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".log"); ok {
			names = append(names, name)
		}
	}
	if len(names) != 1 || strings.Trim(names[0], "0") == "" {
		return 0, fmt.Errorf("%d segments are left in %s", len(names), dir)
	}
	return strconv.ParseInt(names[0], 10, 64)
}
