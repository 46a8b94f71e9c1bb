// Command fuzz runs every fuzz target of the module, one after another, each for a time, and ends with a line of totals.
// A target that fails does not keep the others from their turn; the input that failed is left under the package's
// testdata/fuzz, where `go test` runs it from then on.
//
//	go run ./e2e/fuzz [-time 60s] [-workers 2] [-keep 0] [-run regexp] [packages, ./... by default]
//
// With -keep n, up to n of the small inputs that reached new code stay under testdata/fuzz of the target, so that the
// next machine begins where this one ended.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// target is one fuzz function.
type target struct {
	pkg, dir, name string
}

type options struct {
	time    string
	workers int
	keep    int
}

// maxKept is the largest file of an input that -keep copies, in bytes.
const maxKept = 4 << 10

func main() {
	var o options
	flag.StringVar(&o.time, "time", "60s", "how long each target runs")
	flag.IntVar(&o.workers, "workers", 2, "processes that fuzz at once")
	flag.IntVar(&o.keep, "keep", 0, "inputs of each target to keep under testdata")
	only := flag.String("run", ".", "targets to run, by package and name")
	flag.Parse()
	which, err := regexp.Compile(*only)
	if err != nil {
		fail(err)
	}
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	targets, err := list(patterns)
	if err != nil {
		fail(err)
	}
	began, ran := time.Now(), 0
	var failed []string
	for _, t := range targets {
		if !which.MatchString(t.pkg + "." + t.name) {
			continue
		}
		ran++
		if err := t.fuzz(o); err != nil {
			failed = append(failed, t.pkg+" "+t.name)
			fmt.Println("FAILED:", err)
		}
	}
	fmt.Printf("%d fuzz targets, %s each with %d workers, %s in all: %d failed\n", ran, o.time, o.workers, time.Since(began).Round(time.Second), len(failed))
	if len(failed) > 0 {
		fail(errors.New("failed: " + strings.Join(failed, ", ")))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "fuzz:", err)
	os.Exit(1)
}

// list finds the fuzz targets by the packages' test files, those that see a package from outside included.
func list(patterns []string) ([]target, error) {
	out, err := run("go", append([]string{"list", "-f", `{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}} {{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}} {{.}}{{"\n"}}{{end}}`}, patterns...)...)
	if err != nil {
		return nil, fmt.Errorf("list packages: %w: %s", err, out)
	}
	fuzz := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	var targets []target
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		source, err := os.ReadFile(filepath.Join(f[1], f[2]))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f[2], err)
		}
		for _, m := range fuzz.FindAllSubmatch(source, -1) {
			targets = append(targets, target{pkg: f[0], dir: f[1], name: string(m[1])})
		}
	}
	return targets, nil
}

func run(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}

// fuzz runs one target. Go's fuzzer now and then calls the end of its time a failure: without an input that failed, and
// without a crash of a worker, it is none.
func (t target) fuzz(o options) error {
	began := time.Now()
	out, err := run("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", o.time, "-parallel", fmt.Sprint(o.workers), t.pkg)
	if err != nil && (!strings.Contains(out, "context deadline exceeded") || strings.Contains(out, "Failing input written")) {
		return fmt.Errorf("%s %s: %w\n%s", t.pkg, t.name, err, out)
	}
	fmt.Printf("%-45s %-18s %s, %s\n", strings.TrimPrefix(t.pkg, "github.com/firnlog/firn/"), t.name, progress(out), time.Since(began).Round(time.Second))
	if o.keep > 0 {
		return t.keep(o.keep)
	}
	return nil
}

// progress is what the fuzzer said last of how far it came.
func progress(out string) string {
	last := "no progress shown"
	for line := range strings.Lines(out) {
		if _, what, ok := strings.Cut(line, "execs: "); ok {
			last = "execs: " + strings.TrimSpace(what)
		}
	}
	return last
}

// keep copies inputs of Go's cache beside the target.
func (t target) keep(n int) error {
	cache, err := run("go", "env", "GOCACHE")
	if err != nil {
		return fmt.Errorf("where is Go's cache: %w", err)
	}
	found, err := filepath.Glob(filepath.Join(strings.TrimSpace(cache), "fuzz", t.pkg, t.name, "*"))
	if err != nil {
		return err
	}
	folder := filepath.Join(t.dir, "testdata", "fuzz", t.name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	there, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for left := n - len(there); left > 0 && len(found) > 0; found = found[1:] {
		b, err := os.ReadFile(found[0])
		if err != nil {
			return err
		}
		if len(b) > maxKept || !bytes.HasPrefix(b, []byte("go test fuzz")) {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(found[0])), b, 0o644); err != nil {
			return err
		}
		left--
	}
	return nil
}
