// Command partitions measures what ten thousand partitions cost one broker: to make, to keep while they are idle, to
// come back to after a stop, to delete. It starts the real binary, prints a table of what took how long beside the
// bound that it is held to, and fails if a figure is not within its bound.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/firnlog/firn/e2e/measure"
)

// figure is one line of the table. Bound 0: none.
type figure struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bound float64 `json:"bound,omitempty"`
}

// misses tells that a figure is not within its bound: below it where it is a time, a share or memory, at most it where
// it counts.
func (f figure) misses() bool {
	return f.Bound > 0 && (f.Value > f.Bound || f.Value == f.Bound && f.Unit != "")
}

// missed are the figures that are not within their bounds, as an error.
func missed(figures []figure) error {
	var errs []error
	for _, f := range figures {
		if f.misses() {
			errs = append(errs, fmt.Errorf("%s: %s, where %g is the bound", f.What, strings.TrimSpace(fmt.Sprintf("%.4g %s", f.Value, f.Unit)), f.Bound))
		}
	}
	return errors.Join(errs...)
}

// run is one run of the program.
type run struct {
	shape
	b       *broker
	idle    time.Duration
	figures []figure
	wrote   int64 // batches in each partition
}

const (
	perRequest = 10 // topics made or deleted by one request
	conns      = 4
	mostOpen   = 16 // files that an idle broker may hold in the log folder: its lock, and what housekeeping looks at
	// Goroutines that a broker may have however many partitions there are; it has some 70, of which most are etcd's. While each
	// of conns has requests for new partitions served, the folders of 16 are made at once, and as many logs are flushed at once:
	// that makes up to 150.
	mostIdle = 120
	mostBusy = 250
)

func main() {
	topics := flag.Int("topics", 100, "topics")
	each := flag.Int("partitions", 100, "partitions of each topic")
	idle := flag.Duration("idle", time.Minute, "how long the idle broker is watched")
	out := flag.String("json", "", "write the figures to this file too")
	flag.Parse()
	r := &run{shape: shape{*topics, *each}, idle: *idle}
	err := r.all()
	r.print()
	if err == nil && *out != "" {
		err = r.writeJSON(*out)
	}
	err = errors.Join(err, missed(r.figures))
	if err != nil {
		fmt.Fprintln(os.Stderr, "partitions:", err)
		os.Exit(1)
	}
}

func (r *run) all() error {
	dir, err := os.MkdirTemp("", "firn-partitions-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := filepath.Join(dir, "firn")
	if text, err := exec.Command("go", "build", "-o", binary, "github.com/firnlog/firn/cmd/firn").CombinedOutput(); err != nil {
		return fmt.Errorf("build firn: %w\n%s", err, text)
	}
	if r.b, err = newBroker(binary, dir); err != nil {
		return err
	}
	defer func() { _, _ = r.b.end(syscall.SIGKILL) }()
	for _, step := range []func() error{
		r.create, func() error { return r.rest("empty") },
		r.fill, r.read, func() error { return r.rest("10 KiB each") }, r.descriptors, r.goroutines,
		func() error { return r.restart("clean stop", syscall.SIGTERM, 2) },
		func() error { return r.restart("kill -9", syscall.SIGKILL, 10) },
		r.remove,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) note(what string, value float64, unit string, bound float64) {
	r.figures = append(r.figures, figure{what, value, unit, bound})
	fmt.Fprintf(os.Stderr, "%s: %.3g %s\n", what, value, unit)
}

func (r *run) took(what string, since time.Time, bound float64) {
	r.note(what, time.Since(since).Seconds(), "s", bound)
}

// create makes all topics and waits until every partition has a leader and answers. A topic must be ready when its
// creation is answered.
func (r *run) create() error {
	c, err := r.b.start()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := leaders(c); err != nil {
		return err
	}
	begin := time.Now()
	for i := 0; i < r.topics; i += perRequest {
		to := min(i+perRequest, r.topics)
		if err := r.createTopics(c, i, to); err != nil {
			return err
		}
		if _, err := r.ends(c, to-1, to); err != nil {
			return fmt.Errorf("right after the answer: %w", err)
		}
	}
	r.took("CreateTopics answered", begin, 0)
	led, err := leaders(c)
	if err != nil {
		return err
	}
	for i := range r.topics {
		if led[name(i)] != r.each {
			return fmt.Errorf("after its creation was answered, %d of %d partitions of %s have a leader", led[name(i)], r.each, name(i))
		}
	}
	if _, err := r.ends(c, 0, r.topics); err != nil {
		return err
	}
	r.took("created: all leaders seen, every ListOffsets answered", begin, 5)
	return nil
}

// rest watches the broker while nobody uses it.
func (r *run) rest(what string) error {
	before, err := measure.ProcessUsage(r.b.pid())
	if err != nil {
		return err
	}
	time.Sleep(r.idle)
	after, err := measure.ProcessUsage(r.b.pid())
	if err != nil {
		return err
	}
	r.note("idle CPU, "+what, 100*(after.CPU-before.CPU).Seconds()/r.idle.Seconds(), "% of a core", 2)
	r.note("resident memory, "+what, float64(measure.Memory(r.b.pid()))/1e6, "MB", 300)
	return nil
}

// fill writes 10 KiB to each partition, from several connections, and looks at how many goroutines that takes.
func (r *run) fill() error {
	begin := time.Now()
	batch := measure.Batch(10, 1<<10-70, rand.NewChaCha8([32]byte{1}))
	most, err := r.mostGoroutines(func() error {
		err := r.produceAll(r.b.kafka, conns, batch)
		r.took("10 KiB produced to each, the first time", begin, 0)
		return err
	})
	if err != nil {
		return err
	}
	r.wrote++
	r.note("goroutines meanwhile, at most", float64(most), "", mostBusy)
	return nil
}

// mostGoroutines calls fn, looks several times a second at how many goroutines the broker has meanwhile, and gives the most.
func (r *run) mostGoroutines(fn func() error) (most int, err error) {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := r.b.goroutines()
		most = max(most, n)
		if err != nil {
			return most, errors.Join(err, <-done)
		}
		select {
		case err := <-done:
			return most, err
		case <-tick.C:
		}
	}
}

// goroutines waits until the broker has only those that it has for no partition's sake.
func (r *run) goroutines() error {
	n, err := settled(r.b.goroutines, mostIdle, 30*time.Second)
	if err != nil {
		return err
	}
	r.note("goroutines once idle", float64(n), "", mostIdle)
	return nil
}

// read reads every partition once.
func (r *run) read() error {
	c, err := r.b.dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	begin := time.Now()
	if _, err := r.readAll(c, 10*r.wrote); err != nil {
		return err
	}
	r.took("all read by one fetch session", begin, 0)
	return nil
}

// descriptors waits until the files of idle partitions are closed.
func (r *run) descriptors() error {
	n, err := settled(func() (int, error) { return r.b.openLogs(), nil }, mostOpen, 2*time.Minute)
	if err != nil {
		return err
	}
	r.note("open files in the log folder once idle", float64(n), "", mostOpen)
	return nil
}

// settled counts again and again until there are no more than so many, or the time is up, and gives the last count.
func settled(count func() (int, error), most int, within time.Duration) (int, error) {
	for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		n, err := count()
		if err != nil || n <= most || time.Now().After(deadline) {
			return n, err
		}
	}
}

// restart ends the broker, starts it again, and produces: to a partition picked at random, then to all.
func (r *run) restart(what string, sig syscall.Signal, bound float64) error {
	took, err := r.b.end(sig)
	if err != nil {
		return err
	}
	if sig != syscall.SIGKILL {
		r.note("clean stop took", took.Seconds(), "s", 0)
	}
	small := measure.Batch(1, 100, rand.NewChaCha8([32]byte{2}))
	begin := time.Now()
	c, err := r.b.start()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for {
		err := produce(c, name(rand.IntN(r.topics)), []int32{rand.Int32N(int32(r.each))}, small)
		if err == nil {
			break
		}
		if time.Since(begin) > 2*time.Minute {
			return err
		}
		_ = c.Close()
		if c, err = r.b.dial(); err != nil {
			return err
		}
		time.Sleep(2 * time.Millisecond)
	}
	r.took("after "+what+": first acknowledged produce", begin, bound)
	first := time.Now()
	if err := r.produceAll(r.b.kafka, conns, small); err != nil {
		return err
	}
	r.took("after "+what+": then to every partition", first, 5)
	return nil
}

// remove deletes all topics and waits until their folders are gone.
func (r *run) remove() error {
	c, err := r.b.dial()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	begin := time.Now()
	for i := 0; i < r.topics; i += perRequest {
		if err := r.deleteTopics(c, i, min(i+perRequest, r.topics)); err != nil {
			return err
		}
	}
	r.took("DeleteTopics answered", begin, 0)
	for n := 1; n > 0; {
		if n, err = r.b.stored(); err != nil {
			return err
		}
		if time.Since(begin) > 2*time.Minute {
			return fmt.Errorf("%d folders are left two minutes after their topics were deleted", n)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.took("their folders gone", begin, 0)
	return nil
}

func (r *run) print() {
	t := table.NewWriter()
	t.SetOutputMirror(os.Stdout)
	t.SetStyle(table.StyleLight)
	t.SetTitle(fmt.Sprintf("%d partitions in %d topics", r.partitions(), r.topics))
	t.AppendHeader(table.Row{"", "measured", "bound", ""})
	for _, f := range r.figures {
		bound, verdict := "", ""
		if f.Bound > 0 {
			bound = fmt.Sprintf("%g %s", f.Bound, f.Unit)
		}
		if f.misses() {
			verdict = "MISSED"
		}
		t.AppendRow(table.Row{f.What, fmt.Sprintf("%.4g %s", f.Value, f.Unit), bound, verdict})
	}
	t.Render()
}

func (r *run) writeJSON(name string) error {
	text, err := json.MarshalIndent(r.figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}
