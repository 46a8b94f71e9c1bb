package diff

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
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
	topicsOnly = flag.Bool("topics-only", false, "only configs of topics")
	shrinkFlag = flag.Int("shrink", 5, "how many failing programs to shrink and print")
)

// Programs of a full run, and of a short one.
const fullRun, shortRun = 2000, 60

// inFlight is how many programs run side by side: most of the time they wait for rebalances.
const inFlight = 24

// failure is a program whose answers differ in a way that is not listed.
type failure struct {
	program program
	found   []found
}

func TestDifferential(t *testing.T) {
	first, last := uint64(1), uint64(harness.Count(shortRun, fullRun))
	if *seedFlag != "" {
		if n, _ := fmt.Sscanf(*seedFlag, "%d-%d", &first, &last); n == 1 {
			last = first
		}
	}
	b := startBrokers(t)
	begun := time.Now()
	failures := b.playAll(t, first, last)
	n := last - first + 1
	t.Logf("%d programs in %v: %.1f/s", n, time.Since(begun).Round(time.Second), float64(n)/time.Since(begun).Seconds())
	summary(t, failures)
	for i, f := range failures {
		if i == *shrinkFlag {
			t.Logf("… and %d more programs", len(failures)-i)
			break
		}
		small, found := b.shrink(f)
		t.Logf("%s%s", small, list(found))
	}
	if n >= fullRun {
		for _, s := range b.listed.stale() {
			t.Errorf("differences.txt lists what no longer differs: %s", s)
		}
	}
}

// playAll runs the programs of a range of seeds. A difference counts when it shows again at a steady pace.
func (b *brokers) playAll(t *testing.T, first, last uint64) (failures []failure) {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		lane = make(chan struct{}, inFlight)
	)
	for seed := first; seed <= last; seed++ {
		lane <- struct{}{}
		wg.Go(func() {
			defer func() { <-lane }()
			p := generate(seed, b.versions)
			var trace func(string, ...any)
			if *traceFlag {
				trace = t.Logf
			}
			found := b.play(p, swift, trace)
			for try := 0; len(found) > 0 && try < 2; try++ {
				found = b.play(p, steady, nil)
			}
			if len(found) > 0 {
				mu.Lock()
				failures = append(failures, failure{p, found})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(failures, func(x, y failure) int { return cmp.Compare(x.program.seed, y.program.seed) })
	return failures
}

// shrink drops steps of a failing program while it goes on failing at the same fields.
func (b *brokers) shrink(f failure) (program, []found) {
	p, differs := f.program, f.found
	want := kind(differs[0].difference)
	for size := len(p.steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(p.steps); {
			less := program{p.seed, slices.Concat(p.steps[:at], p.steps[at+size:])}
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
