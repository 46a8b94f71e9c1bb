// Command totals runs `go test` once for each group of arguments ("--" stands before each group), shows what failed
// and each skipped test's sentence, and ends with one line of totals over all groups. With FIRN_TEST_NO_SKIP=1 a
// skipped test is a failure: CI must not check less than it seems to.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// slow is from how many seconds on a test is named at the end.
const slow = 20

type totals struct {
	w                       io.Writer
	passed, failed, skipped int
	output                  map[string][]string // by package and test, until its fate is known
	failedIn                map[string]bool     // packages with a failed test
	failures, slow          []string
}

func newTotals(w io.Writer) *totals {
	return &totals{w: w, output: make(map[string][]string), failedIn: make(map[string]bool)}
}

func main() {
	t := newTotals(os.Stdout)
	for _, args := range groups(os.Args[1:]) {
		t.goTest(args)
	}
	if !t.summary(os.Getenv("FIRN_TEST_NO_SKIP") == "1") {
		os.Exit(1)
	}
}

// groups cuts the arguments at each "--".
func groups(args []string) [][]string {
	var list [][]string
	for _, a := range args {
		switch {
		case a == "--":
			list = append(list, nil)
		case len(list) == 0:
			list = append(list, []string{a})
		default:
			list[len(list)-1] = append(list[len(list)-1], a)
		}
	}
	return list
}

// goTest runs one group. What keeps it from running counts as one failure.
func (t *totals) goTest(args []string) {
	before := t.failed
	cmd := exec.Command("go", append([]string{"test", "-json", "-timeout", "30m"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		t.read(stdout)
		err = cmd.Wait()
	}
	if err != nil && t.failed == before {
		t.fail(fmt.Sprintf("go test %s: %v", strings.Join(args, " "), err))
	}
}

func (t *totals) fail(what string) {
	t.failed++
	t.failures = append(t.failures, "  "+what)
}

// read counts the events of one `go test -json`.
func (t *totals) read(r io.Reader) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				_, _ = t.w.Write(line) // not every complaint of the go command is JSON
			} else {
				t.add(e)
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			t.fail(fmt.Sprintf("read the tests' output: %v", err))
			return
		}
	}
}

func (t *totals) add(e event) {
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.w, e.Output)
	case "output":
		t.output[key] = append(t.output[key], e.Output)
	case "pass", "fail", "skip":
		output := strings.Join(t.output[key], "")
		delete(t.output, key)
		if e.Test == "" {
			t.endPackage(e, output)
		} else {
			t.endTest(e, output)
		}
	}
}

func (t *totals) endPackage(e event, output string) {
	if e.Action == "skip" {
		return // no tests there
	}
	fmt.Fprintf(t.w, "%-4s  %s  %.1fs\n", e.Action, e.Package, e.Elapsed)
	if e.Action != "fail" {
		return
	}
	fmt.Fprint(t.w, output)
	if !t.failedIn[e.Package] {
		t.fail(e.Package) // it does not build, or ended outside any test
	}
}

func (t *totals) endTest(e event, output string) {
	name := e.Package + " " + e.Test
	if e.Elapsed > slow {
		t.slow = append(t.slow, fmt.Sprintf("  %5.0fs  %s", e.Elapsed, name))
	}
	switch e.Action {
	case "pass":
		t.passed++
		return
	case "fail":
		t.failedIn[e.Package] = true
		t.fail(name)
	case "skip":
		t.skipped++
	}
	fmt.Fprint(t.w, output)
}

// summary prints the totals, its last line, and says whether all is well.
func (t *totals) summary(noSkip bool) bool {
	if len(t.slow) > 0 {
		fmt.Fprintf(t.w, "more than %d s:\n%s\n", slow, strings.Join(t.slow, "\n"))
	}
	if len(t.failures) > 0 {
		fmt.Fprintf(t.w, "failed:\n%s\n", strings.Join(t.failures, "\n"))
	}
	fmt.Fprintf(t.w, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	return t.failed == 0 && t.passed > 0 && (t.skipped == 0 || !noSkip)
}
