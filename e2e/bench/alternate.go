package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

// alternation is a round of each side, one after the other, with what was measured of the machine around them. It is
// kept or dropped as a whole.
type alternation struct {
	rounds map[string]Figures // by side
	device float64            // MB/s, the mean of before and after; 0 where no bar asks
	syncs  []time.Duration
	stolen float64 // share of CPU time that the machine's host took away meanwhile
	known  bool    // stolen is
}

// probe measures the device around each alternation: a machine.Probe, but for tests.
type probe interface {
	Throughput() (float64, error)
	Syncs(n int) ([]time.Duration, error)
	Close() error
}

// alternate has all alternations done, and those again in which the machine was not its own (judge.Repeat), unless a bar
// must hold in each: what was measured then counts, whatever the machine did. r tells at any time what was measured until
// then.
func (b *Bench) alternate(ctx context.Context, c Case, sides []Side, device probe, r *judge.Result) error {
	n := b.Alternations
	kept := make([]alternation, 0, n)
	for i := range n {
		a, err := b.alternation(ctx, c, sides, device, i, n)
		if err != nil {
			return err
		}
		kept = append(kept, a)
		record(r, sides, kept)
	}
	if slices.ContainsFunc(c.Bars, func(bar Bar) bool { return bar.Every }) {
		return nil
	}
	for {
		i, again := judge.Repeat(stolen(kept), r.Repeated)
		if !again {
			return nil
		}
		r.Repeated++
		b.say("  alternation %d is repeated (%d of at most %d): %.1f%% of CPU time was stolen in it", i+1, r.Repeated, n/2, 100*kept[i].stolen)
		a, err := b.alternation(ctx, c, sides, device, i, n)
		if err != nil {
			return err
		}
		if judge.Better(a.stolen, kept[i].stolen) {
			kept[i], a = a, kept[i]
		}
		r.Dropped = append(r.Dropped, a.dropped(i))
		record(r, sides, kept)
	}
}

// alternation does number i of n, in the order that belongs to it.
func (b *Bench) alternation(ctx context.Context, c Case, sides []Side, device probe, i, n int) (alternation, error) {
	a := alternation{rounds: map[string]Figures{}}
	asked := slices.ContainsFunc(c.Bars, func(bar Bar) bool { return bar.Device })
	var err error
	if asked {
		if a.device, err = device.Throughput(); err != nil {
			return a, err
		}
	}
	if a.syncs, err = device.Syncs(syncsARound); err != nil {
		return a, err
	}
	before := b.cpuTime()
	for _, k := range order(i, len(sides)) {
		f, err := sides[k].Round(ctx, b.Round)
		if err != nil {
			return a, fmt.Errorf("%s, alternation %d: %w", sides[k].Name, i+1, err)
		}
		a.rounds[sides[k].Name] = f
		b.say("  %d/%d %-18s %s", i+1, n, sides[k].Name, brief(f))
	}
	a.stolen, a.known = b.cpuTime().StolenSince(before)
	if asked {
		after, err := device.Throughput()
		if err != nil {
			return a, err
		}
		a.device = (a.device + after) / 2
	}
	if c.Together != nil {
		c.Together(a.rounds)
	}
	return a, nil
}

// dropped is what the alternation measured in place i, of which another one's figures are kept.
func (a *alternation) dropped(i int) judge.Dropped {
	return judge.Dropped{Alternation: i + 1, Stolen: a.stolen, Device: a.device, Fdatasync: syncsOf(a.syncs), Rounds: a.rounds}
}

// syncsOf are the latencies of single flushes.
func syncsOf(all []time.Duration) *judge.Sync {
	var l measure.Latencies
	for _, d := range all {
		l.Add(d)
	}
	return &judge.Sync{P50: ms(l.Quantile(0.5)), P99: ms(l.Quantile(0.99))}
}

// stolen lists what was stolen; where that is not known, nothing is said to have been.
func stolen(kept []alternation) []float64 {
	all := make([]float64, len(kept))
	for i, a := range kept {
		all[i] = a.stolen
	}
	return all
}

// record makes the figures of r that are judged those of these alternations, and of no other.
func record(r *judge.Result, sides []Side, kept []alternation) {
	r.Rounds, r.Device, r.Stolen = map[string][]Figures{}, nil, stolen(kept)
	var syncs []time.Duration
	for _, a := range kept {
		for _, s := range sides {
			r.Rounds[s.Name] = append(r.Rounds[s.Name], a.rounds[s.Name])
		}
		if a.device > 0 {
			r.Device = append(r.Device, a.device)
		}
		syncs = append(syncs, a.syncs...)
	}
	if slices.ContainsFunc(kept, func(a alternation) bool { return !a.known }) {
		r.Stolen = nil
	}
	r.Fdatasync = syncsOf(syncs)
}

// order is that of n sides in alternation i: every other one goes backwards, and each pair of alternations begins one
// side later, so that no side always follows the same one.
func order(i, n int) []int {
	o := make([]int, n)
	for k := range o {
		o[k] = (k + i/2) % n
	}
	if i%2 == 1 {
		slices.Reverse(o)
	}
	return o
}
