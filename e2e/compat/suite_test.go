package compat

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
)

// outcome is how one test of a suite ended, in the words of expected.txt.
type outcome string

const (
	passes outcome = "passes"
	fails  outcome = "fails"  // runs, and cannot pass here
	skips  outcome = "skips"  // skips itself
	unrun  outcome = "unrun"  // would only wait for what is not there: the suite is told to leave it out
	varies outcome = "varies" // passes or not by chance, against Kafka too
)

// result is one test of a suite.
type result struct {
	name    string
	outcome outcome
	output  string
}

// expectation is one line of expected.txt: outcome, name (a trailing * stands for anything), reason.
type expectation struct {
	outcome outcome
	name    string
	reason  string
	met     bool
}

func (e *expectation) matches(name string) bool {
	if prefix, any := strings.CutSuffix(e.name, "*"); any {
		return strings.HasPrefix(name, prefix)
	}
	return e.name == name
}

// suite is one client's tests. Its folder beside this file holds expected.txt.
type suite struct {
	folder, client string // client is a key of versions
	own            bool   // the program is ours, because the registry's artifact has no tests
	long           bool   // only at full length
	run            func(t *testing.T, expected []*expectation) []result
}

func (s *suite) expectations(t *testing.T) []*expectation {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.folder, "expected.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var list []*expectation
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 || !slices.Contains([]outcome{fails, skips, unrun, varies}, outcome(fields[0])) {
			t.Fatalf("%s/expected.txt: %q is not: fails|skips|unrun|varies, a test's name, the reason", s.folder, line)
		}
		list = append(list, &expectation{outcome: outcome(fields[0]), name: fields[1], reason: strings.Join(fields[2:], " ")})
	}
	return list
}

// unrunNames are the tests that the suite is told to leave out.
func unrunNames(expected []*expectation) (names []string) {
	for _, e := range expected {
		if e.outcome == unrun {
			names = append(names, e.name)
		}
	}
	return names
}

// judge holds the results against the expectations, fails the test for each surprise and adds a row to the table.
func (s *suite) judge(t *testing.T, results []result, expected []*expectation, took time.Duration) {
	t.Helper()
	r := row{suite: s.folder, version: versions[s.client], own: s.own, took: took, why: map[string]int{}}
	for _, res := range results {
		var match *expectation
		for _, e := range expected {
			if e.matches(res.name) {
				match = e
				break
			}
		}
		want := passes
		if match != nil {
			match.met = true
			want = match.outcome
		}
		if res.outcome != want && !(want == varies && res.outcome != skips) {
			r.surprises++
			t.Errorf("%s %s, where expected.txt has it that it %s:\n%s", res.name, res.outcome, want, res.output)
		}
		r.count(res.outcome)
		if match != nil && res.outcome != passes {
			r.why[match.reason]++
		}
	}
	for _, e := range expected {
		switch {
		case e.outcome == unrun:
			r.skipped++
			r.why[e.reason]++
		case !e.met:
			t.Errorf("%s/expected.txt names %s, which no test is called", s.folder, e.name)
		}
	}
	if r.passed == 0 {
		t.Errorf("no test of %s passed", s.folder)
	}
	table.add(r)
}

// row of the table that the tests end with.
type row struct {
	suite, version                     string
	own                                bool
	passed, failed, skipped, surprises int
	took                               time.Duration
	why                                map[string]int // by reason
}

func (r *row) count(o outcome) {
	switch o {
	case passes:
		r.passed++
	case fails:
		r.failed++
	default:
		r.skipped++
	}
}

var table rows

type rows struct {
	sync.Mutex
	list []row
}

func (l *rows) add(r row) {
	l.Lock()
	defer l.Unlock()
	l.list = append(l.list, r)
}

// String is the table in Markdown.
func (l *rows) String() string {
	l.Lock()
	defer l.Unlock()
	var b strings.Builder
	fmt.Fprintln(&b, "| suite | run | passed | failed | skipped | why |\n|---|---|---|---|---|---|")
	for _, r := range l.list {
		name := r.suite + " " + r.version
		if r.own {
			name += " (program of ours)"
		}
		var why []string
		for reason, n := range r.why {
			why = append(why, fmt.Sprintf("%d %s", n, reason))
		}
		sort.Strings(why)
		if r.surprises > 0 {
			why = append([]string{fmt.Sprintf("**%d not as expected**", r.surprises)}, why...)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %s |\n", name, r.passed+r.failed, r.passed, r.failed, r.skipped, strings.Join(why, "; "))
	}
	return b.String()
}

func TestMain(m *testing.M) {
	code := m.Run()
	if len(table.list) > 0 {
		fmt.Println(table.String())
	}
	harness.Cleanup()
	os.Exit(code)
}
