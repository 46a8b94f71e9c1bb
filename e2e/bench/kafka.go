package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/firnlog/firn/e2e/bench/internal/report"
	"github.com/firnlog/firn/e2e/javatools"
	"github.com/firnlog/firn/e2e/measure"
)

// kafkaFlags are those of Kafka's own start script: its heap and its collector.
var kafkaFlags = []string{
	"-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true",
}

// kafkaConfigs are what a single node needs, and one convenience: what is deleted goes at once, not after a minute, so
// that the disk holds one topic at a time. Everything else is Kafka's default.
var kafkaConfigs = []string{
	"process.roles=broker,controller", "node.id=1", "controller.listener.names=CONTROLLER",
	"offsets.topic.replication.factor=1", "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
	"log.segment.delete.delay.ms=0",
}

// Kafka is the Apache Kafka that shared cases run on, started and warmed at its first use. The error wraps ErrSkip where
// there is no Java.
func (b *Bench) Kafka(ctx context.Context) (*Server, error) {
	if b.kafka == nil {
		s, err := b.newKafka("kafka-shared", nil)
		if err != nil {
			return nil, err
		}
		b.kafka = s
		if err := s.Restart(ctx); err != nil {
			return nil, err
		}
		if b.Warm > 0 {
			if err := b.warm(ctx, s); err != nil {
				return nil, fmt.Errorf("warm Kafka: %w", err)
			}
		}
	}
	return b.kafka, nil
}

// StartKafka starts a Kafka on a folder of its own, with more lines for its server.properties, and waits until it
// answers. It is not warm, and ends with the case. The error wraps ErrSkip where there is no Java.
func (b *Bench) StartKafka(ctx context.Context, configs ...string) (*Server, error) {
	s, err := b.newKafka("kafka", configs)
	if err != nil {
		return nil, err
	}
	b.Cleanup(func() error { return errors.Join(s.Stop(), os.RemoveAll(s.Dir)) })
	return s, s.Restart(ctx)
}

func (b *Bench) newKafka(name string, configs []string) (*Server, error) {
	libs, err := javatools.Kafka.Get()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", ErrSkip, err)
	}
	if err != nil {
		return nil, err
	}
	s := &Server{Name: name, Dir: filepath.Join(b.dir, name)}
	s.Logs = filepath.Join(s.Dir, "log")
	if s.Addr, err = measure.FreeAddr(); err != nil {
		return nil, err
	}
	controller, err := measure.FreeAddr()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	properties := filepath.Join(s.Dir, "server.properties")
	lines := append(append([]string{}, kafkaConfigs...), "controller.quorum.voters=1@"+controller,
		"listeners=PLAINTEXT://"+s.Addr+",CONTROLLER://"+controller, "log.dirs="+s.Logs)
	lines = append(lines, configs...)
	if err := os.WriteFile(properties, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	class := javatools.ClassPath(libs)
	tool := exec.Command("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", class, "kafka.tools.StorageTool", "format", "-t", "bm90LWEtcmVhbC1pZC0xMg", "-c", properties)
	tool.Dir = s.Dir
	if out, err := tool.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format Kafka's storage: %w\n%s", err, out)
	}
	s.argv = append(append([]string{"java"}, kafkaFlags...), "-cp", class, "kafka.Kafka", properties)
	s.serves = func() bool {
		return s.admin(func(a *kadm.Client) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := a.BrokerMetadata(ctx)
			return err
		}) == nil
	}
	return s, nil
}

const (
	warmParts = 6   // in which Warm is written
	warmMost  = 4   // times Warm is as much as is written to get there
	cheaper   = 0.9 // of what it took before: as long as it becomes that much cheaper, it is not warm
)

// warm writes to Kafka and reads back, at least Warm bytes, and goes on while that becomes cheaper, since a JVM that still
// compiles what matters takes several times the processor of one that has.
func (b *Bench) warm(ctx context.Context, s *Server) error {
	batches, err := largeBatches("plain", variety)
	if err != nil {
		return err
	}
	best := math.Inf(1)
	for part := range warmParts * warmMost {
		var took float64
		for _, mode := range []Mode{PageCache, Flush} {
			cpu, err := b.warmOnce(ctx, s, mode, batches)
			if err != nil {
				return err
			}
			took += cpu
		}
		b.say("  warming Kafka, %d: %s CPU-s/GB", part+1, report.Number(took))
		if part+1 >= warmParts && took > best*cheaper {
			return nil
		}
		best = min(best, took)
	}
	return nil
}

// warmOnce writes a part to a topic, reads it and deletes it; it gives the CPU-seconds per GB of all that.
func (b *Bench) warmOnce(ctx context.Context, s *Server, mode Mode, batches []measure.Payload) (float64, error) {
	const topic, partitions = "bench-warm", 16
	if err := s.CreateTopic(ctx, topic, partitions, mode.configs(s)); err != nil {
		return 0, err
	}
	p, err := measure.Pipelined{Addr: s.Addr, Topic: topic, Partitions: partitions, Conns: producers, InFlight: inFlight, Batches: batches}.Start()
	if err != nil {
		return 0, err
	}
	m, err := s.meter()
	if err != nil {
		return 0, errors.Join(err, p.Close())
	}
	got, err := p.RunBytes(ctx, b.Warm/2/warmParts)
	if err := errors.Join(err, p.Close()); err != nil {
		return 0, err
	}
	ends, err := s.Ends(ctx, topic)
	if err != nil {
		return 0, err
	}
	if _, err := (measure.Reading{Addr: s.Addr, Topic: topic, Ends: ends, Consumers: 2}).Run(ctx, 0); err != nil {
		return 0, err
	}
	cost, err := m.Stop()
	return cost.CPU.Seconds() / (float64(got.Bytes) / 1e9), errors.Join(err, s.DeleteTopic(ctx, topic), b.settle())
}
