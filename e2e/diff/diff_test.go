package diff

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

var (
	seedFlag   = flag.String("seeds", "", "seeds to run, as 17 or 1-2000")
	traceFlag  = flag.Bool("trace", false, "print every request and both answers")
	shrinkFlag = flag.Int("shrink", 5, "how many failing programs to shrink and print")
)

// Programs of a full run, and of a short one.
const fullRun, shortRun = 2000, 60

// inFlight is how many programs run side by side: most of the time they wait for rebalances.
const inFlight = 48

// failure is a program whose answers differ in a way that is not listed.
type failure struct {
	program program
	found   []found
}

func TestDifferential(t *testing.T) {
	seeds, err := parseSeeds(cmp.Or(*seedFlag, fmt.Sprintf("1-%d", harness.Count(shortRun, fullRun))))
	if err != nil {
		t.Fatal(err)
	}
	b := startBrokers(t)
	begun := time.Now()
	failures, unsure := b.playAll(t, seeds)
	took := time.Since(begun)
	t.Logf("%d programs in %v, %.1f a second", len(seeds), took.Round(time.Second), float64(len(seeds))/took.Seconds())
	if len(unsure) > 0 {
		var seeds []uint64
		for _, f := range unsure {
			seeds = append(seeds, f.program.seed)
		}
		t.Logf("%d programs differed and did not again: seeds %v", len(seeds), seeds)
	}
	if most := 2 + len(seeds)/100; len(unsure) > most {
		t.Errorf("%d programs differed once and not again, more than %d: that is no accident", len(unsure), most)
	}
	summary(t, failures)
	for i, f := range failures {
		if i == *shrinkFlag {
			t.Logf("… and %d more programs", len(failures)-i)
			break
		}
		small, found := b.shrink(f)
		t.Logf("%s%s", small, list(found))
	}
	if len(seeds) >= fullRun {
		for _, s := range b.listed.stale() {
			t.Errorf("differences.txt lists what no longer differs: %s", s)
		}
	}
}

// parseSeeds reads seeds and ranges of them, with commas between.
func parseSeeds(text string) (seeds []uint64, err error) {
	for _, part := range strings.Split(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("-seeds=%s: %w", text, err)
		}
		last := first
		if isRange {
			if last, err = strconv.ParseUint(to, 10, 64); err != nil {
				return nil, fmt.Errorf("-seeds=%s: %w", text, err)
			}
		}
		for ; first <= last; first++ {
			seeds = append(seeds, first)
		}
	}
	return seeds, nil
}

// playAll runs the programs of some seeds side by side.
func (b *brokers) playAll(t *testing.T, seeds []uint64) (failures, unsure []failure) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		lane = make(chan struct{}, inFlight)
	)
	for _, seed := range seeds {
		lane <- struct{}{}
		wg.Go(func() {
			defer func() { <-lane }()
			p := generate(seed, b.versions)
			var trace func(string, ...any)
			if *traceFlag {
				trace = t.Logf
			}
			if found := b.play(p, swift, trace); len(found) > 0 {
				t.Logf("seed %d differs:\n%s", seed, list(found))
				mu.Lock()
				failures = append(failures, failure{p, found})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(failures, func(x, y failure) int { return cmp.Compare(x.program.seed, y.program.seed) })
	return b.confirmed(failures)
}

// confirmed are the failures that show again when little else runs: what parks, and how long Kafka lags behind itself, is a
// matter of time. The others are unsure. Where there are very many it only looks at the first.
func (b *brokers) confirmed(failures []failure) (sure, unsure []failure) {
	const looked, sideBySide = 50, 4
	again := make([][]found, len(failures))
	lane := make(chan struct{}, sideBySide)
	var wg sync.WaitGroup
	for i, f := range failures {
		if again[i] = f.found; i >= looked {
			continue
		}
		lane <- struct{}{}
		wg.Go(func() {
			defer func() { <-lane }()
			for try := 0; len(again[i]) > 0 && try < 2; try++ {
				again[i] = b.play(f.program, steady, nil)
			}
		})
	}
	wg.Wait()
	for i, f := range failures {
		if len(again[i]) == 0 {
			unsure = append(unsure, f)
			continue
		}
		sure = append(sure, failure{f.program, again[i]})
	}
	return sure, unsure
}

// shrink drops steps of a failing program while it goes on failing at the same fields.
func (b *brokers) shrink(f failure) (program, []found) {
	p, differs := f.program, f.found
	want := kind(differs[0].difference)
	for size := len(p.steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(p.steps); {
			less := program{p.seed, p.own, slices.Concat(p.steps[:at], p.steps[at+size:])}
			all := b.play(less, swift, nil)
			if slices.ContainsFunc(all, func(d found) bool { return kind(d.difference) == want }) {
				p, differs = less, all
			} else {
				at += size
			}
		}
	}
	return p, differs
}

func list(all []found) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "      at %2d: %s\n", f.step, f.difference)
	}
	return b.String()
}

var inBraces = regexp.MustCompile(`^\{.*`)
var inBrackets = regexp.MustCompile(`\[[^\]]*\]|\.v[0-9]+`)

// kind is what a difference is about, whatever the version and the names.
func kind(d difference) string {
	return fmt.Sprintf("%s | %s | %s", inBrackets.ReplaceAllString(d.path, ""), inBraces.ReplaceAllString(d.kafka, "{…}"), inBraces.ReplaceAllString(d.firn, "{…}"))
}

// summary fails the test for every kind of difference, with how many programs showed it.
func summary(t *testing.T, failures []failure) {
	programs := map[string][]uint64{}
	sample := map[string]difference{}
	for _, f := range failures {
		for _, d := range f.found {
			k := kind(d.difference)
			if p := programs[k]; len(p) == 0 || p[len(p)-1] != f.program.seed {
				programs[k] = append(p, f.program.seed)
			}
			sample[k] = d.difference
		}
	}
	kinds := slices.SortedFunc(maps.Keys(programs), func(a, b string) int { return cmp.Compare(len(programs[b]), len(programs[a])) })
	for _, k := range kinds {
		p := programs[k]
		t.Errorf("in %d programs, as of seed %v: %s", len(p), p[:min(3, len(p))], sample[k])
	}
}
