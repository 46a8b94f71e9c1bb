package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
)

// goSuite is a Go module's package with integration tests.
type goSuite struct {
	module, pkg string
	tags        string
	seeds       []string // a test that reaches one of these identifiers or string literals needs a broker
	env         []string
	patch       map[string]string // files added to a copy of the module, by name
	tools       []string          // packages of other modules built beside it
}

// binary builds the suite's tests, and gives the folder where they are and the one that they run in.
func (g goSuite) binary(t *testing.T) (tests, tools, dir string) {
	t.Helper()
	key := fmt.Sprint(g.pkg, g.tags, g.patch, g.tools, versions[g.module], versions[toxiproxy])
	built := cached(t, "go-"+filepath.Base(g.module), key, func(built string) {
		p := process{dir: built, env: []string{"GOFLAGS=-mod=mod -buildvcs=false", "GOWORK=off"}}
		write(t, filepath.Join(built, "go.mod"), "module suite\n\ngo 1.26\n")
		p.must(t, "go", "get", "-t", g.pkg+"@"+versions[g.module])
		for _, tool := range g.tools {
			p.must(t, "go", "get", tool+"@"+versions[toxiproxy])
			p.must(t, "go", "build", "-o", built+"/", tool)
		}
		if g.patch != nil {
			module := strings.TrimSpace(p.must(t, "go", "list", "-m", "-f", "{{.Dir}}", g.module))
			copyTree(t, module, filepath.Join(built, "module"))
			for name, content := range g.patch {
				write(t, filepath.Join(built, "module", name), content)
			}
			p.dir = filepath.Join(built, "module")
		}
		p.must(t, "go", "test", "-c", "-tags", g.tags, "-o", filepath.Join(built, "suite.test"), g.pkg)
		dir := p.must(t, "go", "list", "-tags", g.tags, "-f", "{{.Dir}}", g.pkg)
		write(t, filepath.Join(built, "dir"), strings.TrimSpace(dir))
	})
	return filepath.Join(built, "suite.test"), built, strings.TrimSpace(read(t, filepath.Join(built, "dir")))
}

// run runs the tests that need a broker, one after the other where they do not ask for more.
func (g goSuite) run(t *testing.T, expected []*expectation) []result {
	t.Helper()
	tests, _, dir := g.binary(t)
	names := integrationTests(t, dir, g.seeds)
	args := []string{"tool", "test2json", "-t", tests, "-test.v=test2json", "-test.timeout=30m", "-test.run=^(" + strings.Join(names, "|") + ")$"}
	if skip := unrunNames(expected); len(skip) > 0 {
		var patterns []string
		for _, name := range skip {
			var levels []string
			for _, level := range strings.Split(name, "/") {
				levels = append(levels, "^"+regexp.QuoteMeta(level)+"$")
			}
			patterns = append(patterns, strings.Join(levels, "/"))
		}
		args = append(args, "-test.skip="+strings.Join(patterns, "|"))
	}
	out, err := process{dir: dir, env: g.env}.run(t, "go", args...)
	results := goResults(out)
	if err != nil && !slices.ContainsFunc(results, func(r result) bool { return r.outcome == fails }) {
		t.Errorf("%s: %v\n%s", g.pkg, err, tail(out))
	}
	return results
}

// goResults reads `go tool test2json`. A test with a failed subtest counts for no failure of its own.
func goResults(out string) (results []result) {
	outputs := map[string]*bytes.Buffer{}
	var running []string
	for line := range strings.Lines(out) {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal([]byte(line), &e) != nil || e.Test == "" {
			continue
		}
		switch e.Action {
		case "run":
			outputs[e.Test] = &bytes.Buffer{}
			running = append(running, e.Test)
		case "output":
			if b := outputs[e.Test]; b != nil {
				b.WriteString(e.Output)
			}
		case "pass", "fail", "skip":
			o := map[string]outcome{"pass": passes, "fail": fails, "skip": skips}[e.Action]
			results = append(results, result{e.Test, o, tail(outputs[e.Test].String())})
			running = slices.DeleteFunc(running, func(name string) bool { return name == e.Test })
		}
	}
	for _, name := range running { // it did not end: the time was up, or the process fell over
		results = append(results, result{name, fails, "did not end: " + tail(outputs[name].String())})
	}
	return slices.DeleteFunc(results, func(r result) bool {
		return r.outcome == fails && slices.ContainsFunc(results, func(sub result) bool {
			return sub.outcome == fails && strings.HasPrefix(sub.name, r.name+"/")
		})
	})
}

// integrationTests finds the tests of the package in dir that reach, through whichever of its functions, one of the
// seeds: what a suite holds beside them needs no broker and proves nothing about one.
func integrationTests(t *testing.T, dir string, seeds []string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]map[string]bool{} // by function: identifiers and literals in its body
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				uses[fn.Name.Name] = wordsOf(fn.Body)
			}
		}
	}
	var reaches func(name string, seen map[string]bool) bool
	reaches = func(name string, seen map[string]bool) bool {
		if seen[name] {
			return false
		}
		seen[name] = true
		for _, seed := range seeds {
			if uses[name][seed] {
				return true
			}
		}
		for used := range uses[name] {
			if uses[used] != nil && reaches(used, seen) {
				return true
			}
		}
		return false
	}
	for name := range uses {
		if strings.HasPrefix(name, "Test") && name != "TestMain" && reaches(name, map[string]bool{}) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func wordsOf(body ast.Node) map[string]bool {
	words := map[string]bool{}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			words[n.Name] = true
		case *ast.BasicLit:
			words[strings.Trim(n.Value, "\"`")] = true
		}
		return true
	})
	return words
}

// runFranzGo runs the suite of franz-go. It makes tens of thousands of records per consumer group test; how many is its
// own setting.
func runFranzGo(t *testing.T, expected []*expectation) []result {
	b := start(t)
	return goSuite{
		module: "github.com/twmb/franz-go", pkg: "github.com/twmb/franz-go/pkg/kgo",
		seeds: []string{"newTestClient", "tmpTopic", "tmpTopicPartitions", "tmpNamedTopicPartitions", "getSeedBrokers", "testClientOpts"},
		env: []string{"KGO_SEEDS=" + b.Kafka, "KGO_TEST_RF=1", "KGO_LOG_LEVEL=none",
			fmt.Sprintf("KGO_TEST_RECORDS=%d", harness.Count(5_000, 200_000))},
	}.run(t, expected)
}

// runKafkaGo runs the suite of kafka-go against the broker that its docker-compose.yml describes.
func runKafkaGo(t *testing.T, expected []*expectation) []result {
	startAtDefaultPort(t, "message.max.bytes=200000000")
	return goSuite{
		module: "github.com/segmentio/kafka-go", pkg: "github.com/segmentio/kafka-go",
		seeds: []string{"localhost:9092", "newLocalClient", "newLocalClientAndTopic", "localhost:9093"},
		env:   []string{"KAFKA_VERSION=3.7.0", "KAFKA_SKIP_NETTEST=1"}, // as its own CI
	}.run(t, expected)
}

// toxiproxy is what Sarama's tests reach their brokers through.
const toxiproxy = "github.com/Shopify/toxiproxy/v2"

// oneReplica is what Sarama's functional tests need to run against one broker: their topics have three replicas.
const oneReplica = `//go:build functional

package sarama

func init() {
	for _, topic := range testTopicDetails {
		topic.ReplicationFactor = 1
	}
}
`

// runSarama runs Sarama's functional tests. They talk to five brokers through toxiproxy; here all five are one.
func runSarama(t *testing.T, expected []*expectation) []result {
	g := goSuite{
		module: "github.com/IBM/sarama", pkg: "github.com/IBM/sarama", tags: "functional",
		seeds: []string{"FunctionalTestEnv"},
		patch: map[string]string{"one_replica_test.go": oneReplica},
		tools: []string{toxiproxy + "/cmd/server"},
	}
	b := start(t, "auto.create.topics.enable=false", "--advertise 127.0.0.1:29091") // as in its docker-compose.yml
	_, tools, _ := g.binary(t)
	proxy := startToxiproxy(t, filepath.Join(tools, "server"), b.Kafka)
	g.env = []string{"TOXIPROXY_ADDR=http://" + proxy, "KAFKA_VERSION=4.0.0"}
	return g.run(t, expected)
}
