package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/bench/internal/machine"
	"github.com/firnlog/firn/e2e/bench/internal/report"
	"github.com/firnlog/firn/e2e/javatools"
)

const (
	syncsARound = 100             // single flushes measured before each alternation
	warmShare   = 4               // the round of each side that is not counted is so much shorter
	spare       = 2 << 30         // bytes of memory that are left alone when it is touched
	shortest    = 1 * time.Second // of a round that is not counted
)

// run runs the cases that the options select, writes what each measured as it ends, and reports on all that are in the
// folder then. A case that fails does not stop the others, and is an error at the end.
func run(ctx context.Context, o Options) error {
	if o.Perf {
		if err := needPerf(); err != nil {
			return err
		}
	}
	out, err := report.Open(o.Out)
	if err != nil {
		return err
	}
	b, err := newBench(o)
	if err != nil {
		return err
	}
	failed := b.runAll(ctx, out)
	if err := b.Close(); err != nil {
		failed = append(failed, err)
	}
	if err := out.Write(o.Table); err != nil {
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

func (b *Bench) runAll(ctx context.Context, out *report.Folder) (failed []error) {
	what := machine.Describe(b.dir, javatools.Version)
	if b.Binary != "" {
		var err error
		if what.Firn, err = versionOf(b.Binary); err != nil {
			return []error{err}
		}
	}
	if err := out.Machine(what); err != nil {
		return []error{err}
	}
	todo, err := b.choose(out)
	if err != nil {
		return []error{err}
	}
	if err := b.touch(todo); err != nil {
		return []error{err}
	}
	for i, c := range todo {
		b.say("case %d of %d: %s", i+1, len(todo), c.Name)
		r, err := b.runCase(ctx, c)
		err = errors.Join(err, b.endCase())
		if ctx.Err() != nil {
			err = errors.New("it was interrupted") // and what failed because of that need not be told
		}
		if errors.Is(err, ErrSkip) {
			b.say("%v", err)
			continue
		}
		if err != nil {
			r.Error = err.Error()
			failed = append(failed, fmt.Errorf("%s: %w", c.Name, err))
			b.say("%s failed: %v", c.Name, err)
		}
		r.Commit = what.Firn
		if err := out.Add(r); err != nil {
			return append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed
}

// choose gives the cases to run, and has what was measured before judged as it would be now.
func (b *Bench) choose(out *report.Folder) (todo []Case, err error) {
	for _, c := range cases() {
		if err := out.Judge(c.Name, c.About, c.Bars); err != nil {
			return nil, err
		}
		if !b.Cases.MatchString(c.Name) {
			continue
		}
		if b.Resume {
			if commit, has := out.Has(c.Name, b.Alternations, b.Round); has {
				b.say("kept, as measured of firn %s: %s", commit, c.Name)
				continue
			}
		}
		todo = append(todo, c)
	}
	return todo, nil
}

// touch makes the memory that the rounds will use as page cache the machine's own.
func (b *Bench) touch(todo []Case) error {
	var need int64
	for _, c := range todo {
		if c.Memory != nil {
			need = max(need, c.Memory(b))
		}
	}
	need = min(need, machine.Available()-spare)
	if need <= 0 {
		return nil
	}
	b.say("touching %d MiB of memory", need>>20)
	return machine.Touch(need)
}

// runCase gives what was measured even where it fails.
func (b *Bench) runCase(ctx context.Context, c Case) (*judge.Result, error) {
	r := &judge.Result{Case: c.Name, About: c.About, Bars: c.Bars, Rounds: map[string][]Figures{}, SecondsARound: b.Round.Seconds()}
	if !c.Shared {
		if err := b.stopShared(); err != nil {
			return r, err
		}
	}
	b.leftOut = nil
	all, err := c.Prepare(ctx, b)
	if err != nil {
		return r, err
	}
	sides := slices.DeleteFunc(all, func(s Side) bool { return !b.Wants(s.Name) })
	r.LeftOut = b.leftOut
	for _, s := range sides {
		r.Sides = append(r.Sides, s.Name)
	}
	if !c.Cold {
		for _, s := range sides {
			b.say("  warming %s", s.Name)
			if _, err := s.Round(ctx, max(b.Round/warmShare, min(shortest, b.Round))); err != nil {
				return r, fmt.Errorf("%s: %w", s.Name, err)
			}
		}
	}
	device, err := b.newProbe(b.dir)
	if err != nil {
		return r, err
	}
	err = b.alternate(ctx, c, sides, device, r)
	if err == nil && b.Perf {
		b.profileSides(ctx, sides, r)
	}
	return r, errors.Join(err, device.Close())
}

// brief is a round's figures in a line.
func brief(f Figures) string {
	var s []string
	for _, k := range judge.Order {
		if v, ok := f[k]; ok && len(s) < 7 {
			s = append(s, report.Number(v)+" "+string(k))
		}
	}
	if len(s) == 0 { // a case with figures of its own only
		for k, v := range f {
			s = append(s, report.Number(v)+" "+string(k))
		}
		slices.Sort(s)
	}
	return strings.Join(s, ", ")
}
