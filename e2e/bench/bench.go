package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/machine"
)

// ErrSkip is wrapped by what a case or a side fails with that this machine cannot run, with the reason.
var ErrSkip = errors.New("not run on this machine")

// Options say what is run and how.
type Options struct {
	Cases        *regexp.Regexp // of names
	Sides        *regexp.Regexp // of names
	Alternations int
	Round        time.Duration // at least so long
	Bytes        int64         // that the reading cases read: of each partition set, once through
	Warm         int64         // bytes that Kafka is warmed with before its first round
	Binary       string        // the firn that is measured; empty: it is built
	Out          string        // folder of the results
	Perf         bool          // take CPU profiles of firn, in rounds of their own that are not counted
	Resume       bool          // cases that stand in Out already, with as many alternations and rounds as long, are not run again
	Progress     io.Writer     // one line a round
	Table        io.Writer     // what was measured, at the end
}

// Bench is one run: what the cases share. Its methods are for the goroutine that runs the cases.
type Bench struct {
	Options
	dir         string // scratch, removed at the end
	built       map[string]bool
	firn, kafka *Server // shared; nil before their first use
	cleanup     []func() error
	topics      int      // made so far: their names are numbers
	leftOut     []string // sides of the case that are not wanted, as far as anybody asked

	cpuTime  func() machine.CPUTime          // machine.ReadCPUTime, but for tests
	newProbe func(dir string) (probe, error) // machine.NewProbe, but for tests
	profiler *profiler                       // takes a profile of firn whenever that is measured; nil: none does
}

// say tells how the run goes.
func (b *Bench) say(format string, args ...any) {
	fmt.Fprintf(b.Progress, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// newBench makes the scratch folder; Close removes it.
func newBench(o Options) (*Bench, error) {
	dir, err := os.MkdirTemp("", "firn-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	return &Bench{Options: o, dir: dir, built: map[string]bool{}, cpuTime: machine.ReadCPUTime,
		newProbe: func(dir string) (probe, error) { return machine.NewProbe(dir) }}, nil
}

// Close ends everything that still runs and removes the scratch folder.
func (b *Bench) Close() error {
	return errors.Join(b.endCase(), b.stopShared(), os.RemoveAll(b.dir))
}

// Dir is a new, empty folder that is removed at the end of the case.
func (b *Bench) Dir(name string) (string, error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return "", err
	}
	b.Cleanup(func() error { return os.RemoveAll(dir) })
	return dir, nil
}

// Cleanup has fn called at the end of the case, last given first.
func (b *Bench) Cleanup(fn func() error) { b.cleanup = append(b.cleanup, fn) }

// Wants says whether a side of that name is to be run, so that a case need not start what only others use. It notes which
// are not, for the report: a case asks for each of its sides, or gives it from Prepare.
func (b *Bench) Wants(side string) bool {
	if b.Sides == nil || b.Sides.MatchString(side) {
		return true
	}
	if !slices.Contains(b.leftOut, side) {
		b.leftOut = append(b.leftOut, side)
	}
	return false
}

// endCase undoes what the case's Prepare did.
func (b *Bench) endCase() error {
	var errs []error
	for len(b.cleanup) > 0 {
		last := b.cleanup[len(b.cleanup)-1]
		b.cleanup = b.cleanup[:len(b.cleanup)-1]
		errs = append(errs, last())
	}
	return errors.Join(errs...)
}

// stopShared ends the brokers that the cases share.
func (b *Bench) stopShared() error {
	var errs []error
	for _, s := range []**Server{&b.firn, &b.kafka} {
		if *s != nil {
			errs = append(errs, (*s).Stop(), os.RemoveAll((*s).Dir))
			*s = nil
		}
	}
	return errors.Join(errs...)
}

// Firn is the firn that shared cases run on, started at its first use.
func (b *Bench) Firn(ctx context.Context) (*Server, error) {
	if b.firn == nil {
		s, err := b.newFirn(FirnOptions{Name: "firn-shared"})
		if err != nil {
			return nil, err
		}
		b.firn = s
		if err := s.Restart(ctx); err != nil {
			return nil, err
		}
	}
	return b.firn, nil
}

// never is a value of Kafka's configs that stands for "not at all".
const never = math.MaxInt64
