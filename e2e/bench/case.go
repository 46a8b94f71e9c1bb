package main

import (
	"context"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
)

// The words of package judge that cases are written in.
type (
	Figures = judge.Figures // what a round measured
	Bar     = judge.Bar     // what must hold between two sides
)

// Case is one kind of work, done by several sides in turn: alternation after alternation each side has one round, in an
// order that changes from one to the next.
type Case struct {
	Name  string // unique, beginning with the letter of the list of cases: "a produce, 16 partitions, zstd"
	About string // what is done, in a sentence, for the report
	Bars  []Bar

	// Shared: the sides run on the brokers that the bench keeps (Bench.Firn, Bench.Kafka). They are ended before a case
	// that is not, so that nothing else runs then.
	Shared bool
	// Memory is about how many bytes of page cache a round of the length given fills; the bench touches as much beforehand.
	Memory func(b *Bench) int64
	// Cold: no round goes uncounted before the first, because the sides are to be measured as they are then.
	Cold bool

	// Together, if there is one, gets what the sides measured in an alternation, by side, when all had their rounds, and adds
	// figures to it that take more than one side. A side may be missing.
	Together func(rounds map[string]Figures)

	// Prepare does what is needed once, before the first round, and gives the sides. What it started it ends by
	// Bench.Cleanup. A case that cannot run on this machine gives an error that wraps ErrSkip and says why.
	Prepare func(ctx context.Context, b *Bench) ([]Side, error)
}

// Side is one system in one mode.
type Side struct {
	Name string // such as "firn flush", "kafka page cache", "sink flush"
	// Round loads the system for at least the length and gives the figures. It leaves nothing behind: topics that it
	// made are deleted, and their bytes gone, when it returns. It is called once per alternation.
	Round func(ctx context.Context, length time.Duration) (Figures, error)
}

// cases are all cases in the order in which they run. Each file of cases gives its own.
func cases() []Case {
	var all []Case
	for _, some := range [][]Case{produceCases(), smallCases(), fetchCases(), latencyCases(), archiveCases(), scaleCases()} {
		all = append(all, some...)
	}
	return all
}
