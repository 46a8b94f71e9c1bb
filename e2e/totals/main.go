// Command totals runs `go test` over the packages named after "--", shows what failed and each skipped test's
// sentence, and ends with one line of totals. With FIRN_TEST_NO_SKIP=1 a skipped test is a failure: CI must
// not check less than it seems to.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
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

type totals struct {
	passed, failed, skipped int
	output                  map[string][]string // by package and test, until its fate is known
	slow                    []string
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	cmd := exec.Command("go", append([]string{"test", "-json", "-timeout", "30m"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "totals: start go test:", err)
		os.Exit(1)
	}
	t := totals{output: make(map[string][]string)}
	t.read(stdout)
	runErr := cmd.Wait()
	sort.Strings(t.slow)
	if len(t.slow) > 0 {
		fmt.Println("tests of more than 20 s:\n" + strings.Join(t.slow, "\n"))
	}
	if runErr != nil && t.failed == 0 {
		t.failed++ // a package that does not build or a crashed test binary has no failing test to count
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	if t.failed > 0 || (t.skipped > 0 && os.Getenv("FIRN_TEST_NO_SKIP") == "1") || t.passed == 0 {
		os.Exit(1)
	}
}

func (t *totals) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Println(lines.Text()) // build errors of older toolchains come as plain text
			continue
		}
		t.add(e)
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "totals: read the test output:", err)
		t.failed++
	}
}

func (t *totals) add(e event) {
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "output", "build-output":
		if e.Action == "build-output" {
			fmt.Print(e.Output)
			return
		}
		t.output[key] = append(t.output[key], e.Output)
	case "pass", "fail", "skip":
		t.finish(e, t.output[key])
		delete(t.output, key)
	}
}

func (t *totals) finish(e event, output []string) {
	if e.Test == "" {
		if e.Action != "skip" { // a package without tests
			fmt.Printf("%-4s  %s  %.1fs\n", e.Action, e.Package, e.Elapsed)
		}
		if e.Action == "fail" {
			fmt.Print(strings.Join(output, ""))
		}
		return
	}
	if e.Elapsed > 20 {
		t.slow = append(t.slow, fmt.Sprintf("  %6.0fs  %s %s", e.Elapsed, e.Package, e.Test))
	}
	switch e.Action {
	case "pass":
		t.passed++
	case "fail":
		t.failed++
		fmt.Print(strings.Join(output, ""))
	case "skip":
		t.skipped++
		fmt.Print(strings.Join(output, ""))
	}
}
