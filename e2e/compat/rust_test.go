package compat

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
)

// needRust is what rdkafka is built with: it compiles librdkafka.
func needRust(t *testing.T) string {
	t.Helper()
	harness.Need(t, "make")
	harness.Need(t, "gcc")
	return harness.Need(t, "cargo")
}

// crate fetches a crate's source and copies it into the cache.
func crate(t *testing.T, cargo, name string) string {
	t.Helper()
	return cached(t, name, versions[name], func(dir string) {
		p := process{dir: t.TempDir()}
		p.must(t, cargo, "init", "-q", "--name", "suite")
		p.must(t, cargo, "add", "-q", name+"@="+versions[name])
		p.must(t, cargo, "fetch", "-q")
		var metadata struct {
			Packages []struct {
				Name         string
				ManifestPath string `json:"manifest_path"`
			}
		}
		if err := json.Unmarshal([]byte(p.must(t, cargo, "metadata", "-q", "--format-version", "1")), &metadata); err != nil {
			t.Fatal(err)
		}
		for _, pkg := range metadata.Packages {
			if pkg.Name == name {
				copyTree(t, filepath.Dir(pkg.ManifestPath), filepath.Join(dir, "source"))
			}
		}
	})
}

var (
	cargoTest  = regexp.MustCompile(`(?m)^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)`)
	cargoPanic = regexp.MustCompile(`(?s)thread '(\S+)' \(?\d*\)? ?panicked at (.*?)\n(.*?)(?:\nnote:|\nstack backtrace|\n\n)`)
)

// runRdkafka runs the integration tests of the crate rdkafka against the broker that its docker-compose.yaml describes.
func runRdkafka(t *testing.T, expected []*expectation) (results []result) {
	cargo := needRust(t)
	dir := crate(t, cargo, "rdkafka")
	source := filepath.Join(dir, "source")
	files, err := filepath.Glob(filepath.Join(source, "tests", "test_*.rs"))
	if err != nil {
		t.Fatal(err)
	}
	process{dir: source}.must(t, cargo, "test", "--locked", "--no-run", "--tests")
	startAtDefaultPort(t, "--broker-id 0", "num.partitions=3")
	for _, file := range files {
		suite := strings.TrimSuffix(filepath.Base(file), ".rs")
		args := []string{"test", "--locked", "--test", suite, "--", "--exact"}
		for _, name := range unrunNames(expected) {
			if test, ok := strings.CutPrefix(name, suite+"::"); ok {
				args = append(args, "--skip", test)
			}
		}
		out, err := process{dir: source, env: []string{"RUST_LOG=off"}}.run(t, cargo, args...)
		panics := map[string]string{}
		for _, m := range cargoPanic.FindAllStringSubmatch(out, -1) {
			panics[m[1]] = m[2] + "\n" + m[3]
		}
		n := len(results)
		for _, m := range cargoTest.FindAllStringSubmatch(out, -1) {
			o := map[string]outcome{"ok": passes, "FAILED": fails, "ignored": skips}[m[2]]
			if !strings.HasPrefix(m[1], "utils::") { // the same in each file
				results = append(results, result{suite + "::" + m[1], o, panics[m[1]]})
			}
		}
		if n == len(results) && err != nil {
			t.Errorf("%s: %v\n%s", suite, err, tail(out))
		}
	}
	return results
}
