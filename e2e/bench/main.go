// Command bench measures one firn broker: produce, hot fetch and cold read, with what bounds them. It prints a
// table and, for each case, MB/s, the broker's CPU-seconds per GB and its peak memory. Absolute figures tell of
// the machine; compare within one run.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/measure"
)

type result struct {
	Case           string  `json:"case"`
	Bytes          int64   `json:"bytes"`
	Seconds        float64 `json:"seconds"`
	MBPerSecond    float64 `json:"mbPerSecond"`
	CPUPerGB       float64 `json:"cpuSecondsPerGB"`
	WrittenPerByte float64 `json:"deviceBytesPerByte"`
}

type bench struct {
	binary, dir, kafka, http string
	store                    string
	cmd                      *exec.Cmd
	pid                      int
	results                  []result
	peak                     int64
}

func main() {
	size := flag.Int64("bytes", 1<<30, "bytes per case")
	out := flag.String("json", "", "write the figures to this file too")
	flag.Parse()
	if err := run(*size, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(size int64, out string) error {
	dir, err := os.MkdirTemp("", "firn-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bench{dir: dir, binary: filepath.Join(dir, "firn")}
	for _, addr := range []*string{&b.kafka, &b.http} {
		if *addr, err = measure.FreeAddr(); err != nil {
			return err
		}
	}
	if text, err := exec.Command("go", "build", "-o", b.binary, "github.com/firnlog/firn/cmd/firn").CombinedOutput(); err != nil {
		return fmt.Errorf("build firn: %w\n%s", err, text)
	}
	archive, err := startArchive(dir)
	if err != nil {
		return err
	}
	defer archive.Stop()
	b.store = archive.url
	if err := b.start(); err != nil {
		return err
	}
	defer b.stop()
	if err := b.cases(size, archive); err != nil {
		return err
	}
	b.print()
	if out == "" {
		return nil
	}
	text, err := json.MarshalIndent(b.results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644)
}

func (b *bench) cases(size int64, archive *archive) error {
	ctx := context.Background()
	local := map[string]string{"remote.storage.enable": "false"}
	for _, n := range []int{1, 16} {
		topic := fmt.Sprintf("produce-%d", n)
		if err := b.topic(ctx, topic, n, local); err != nil {
			return err
		}
		if err := b.measure(fmt.Sprintf("produce, %d partition(s)", n), size, func(context.Context) error {
			return produce(b.kafka, topic, [16]byte{}, n, size)
		}); err != nil {
			return err
		}
	}
	ends, err := b.ends(ctx, "produce-1")
	if err != nil {
		return err
	}
	if err := b.measure("hot fetch, 1 partition", size, func(context.Context) error {
		_, err := fetchAll(b.kafka, "produce-1", ends)
		return err
	}); err != nil {
		return err
	}
	return b.cold(ctx, size, archive)
}

// cold produces to an archived topic, waits until it is in the archive only, and reads it back with an empty
// cache, beside ranged GETs of the same objects.
func (b *bench) cold(ctx context.Context, size int64, archive *archive) error {
	const topic = "cold"
	if err := b.topic(ctx, topic, 1, map[string]string{"local.retention.ms": "1000", "segment.bytes": "16777216", "firn.remote.upload.max.lag.ms": "1000"}); err != nil {
		return err
	}
	if err := b.measure("produce with upload, 1 partition", size, func(context.Context) error {
		return produce(b.kafka, topic, [16]byte{}, 1, size)
	}); err != nil {
		return err
	}
	if err := b.waitCold(topic); err != nil {
		return err
	}
	ends, err := b.ends(ctx, topic)
	if err != nil {
		return err
	}
	b.stop()
	if err := os.RemoveAll(filepath.Join(b.dir, "data", "cache")); err != nil {
		return err
	}
	if err := b.start(); err != nil {
		return err
	}
	for _, name := range []string{"cold read, empty cache", "cold read, warm cache"} {
		if err := b.measure(name, size, func(context.Context) error {
			_, err := fetchAll(b.kafka, topic, ends)
			return err
		}); err != nil {
			return err
		}
	}
	r, err := archive.getAll(ctx)
	if err != nil {
		return err
	}
	b.results = append(b.results, r)
	return nil
}

func (b *bench) topic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.kafka))
	if err != nil {
		return err
	}
	defer cl.Close()
	values := make(map[string]*string, len(configs))
	for k, v := range configs {
		values[k] = &v
	}
	answer, err := kadm.NewClient(cl).CreateTopic(ctx, int32(partitions), 1, values, name)
	if err != nil {
		return fmt.Errorf("create %s: %w %s", name, err, answer.ErrMessage)
	}
	return nil
}

func (b *bench) ends(ctx context.Context, topic string) ([]int64, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.kafka))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	listed, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends := make([]int64, len(listed[topic]))
	for p, o := range listed[topic] {
		ends[p] = o.Offset
	}
	return ends, nil
}

func (b *bench) stop() {
	if b.cmd == nil {
		return
	}
	b.peak = max(b.peak, measure.PeakMemory(b.pid))
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	_ = b.cmd.Wait()
	b.cmd = nil
}

func (b *bench) print() {
	b.peak = max(b.peak, measure.PeakMemory(b.pid))
	t := table.NewWriter()
	t.SetOutputMirror(os.Stdout)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"case", "MB/s", "broker CPU-s/GB", "device bytes per byte"})
	for _, r := range b.results {
		t.AppendRow(table.Row{r.Case, fmt.Sprintf("%.0f", r.MBPerSecond), fmt.Sprintf("%.2f", r.CPUPerGB), fmt.Sprintf("%.2f", r.WrittenPerByte)})
	}
	t.Render()
	fmt.Printf("peak memory of the broker: %d MiB\n", b.peak/mib)
}
