// Package house tests the shape of the code: which way imports point, and that every invariant has a test.
package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/firnlog/firn"

// mayImport says which rooms a room may use besides itself. cmd may use all but e2e.
var mayImport = map[string][]string{
	"cmd":        {"broker", "compaction", "metadata", "tier"},
	"broker":     {"metadata", "tier"},
	"compaction": {"metadata", "tier"},
	"metadata":   {"tier"},
	"tier":       {},
	"e2e":        {}, // black box: starts processes, imports nothing of the inside but test tools below
}

// toolsForE2E are test helpers of the inside that the black box may use.
var toolsForE2E = []string{"tier/object/objecttest"}

// pure packages have no goroutine, lock, clock or I/O (the ones marked with a diamond in the design).
var pure = []string{"tier/topic", "tier/record", "tier/segment", "tier/ledger", "tier/layout", "tier/hot/epoch", "tier/hot/producer", "broker/group", "metadata",
	"metadata/configdef", "metadata/topicconfig", "metadata/brokerconfig", "metadata/groupconfig"}

// impure are packages whose import betrays I/O, locks or clocks.
var impure = []string{"os", "net", "net/http", "sync", "sync/atomic", "log/slog", "os/exec", "syscall", "golang.org/x/sys/unix"}

// allowedImpure lists what a pure package uses all the same, and why.
var allowedImpure = map[string][]string{
	"tier/record":  {"sync"},        // pools of codec state: invisible to callers
	"tier/segment": {"sync"},        // likewise
	"metadata":     {"sync/atomic"}, // an image sorts its topics when first asked: the same for all who ask
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "..", "..")
}

// goFiles calls fn with the slash path of each Go file of the repository, relative to its root.
func goFiles(t *testing.T, fn func(rel, path string)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != top || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			rel, err := filepath.Rel(top, path)
			if err != nil {
				return err
			}
			fn(filepath.ToSlash(rel), path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func importsOf(t *testing.T, path string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, s := range f.Imports {
		list = append(list, strings.Trim(s.Path.Value, `"`))
	}
	return list
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func TestImportsPointOneWay(t *testing.T) {
	files := 0
	goFiles(t, func(rel, path string) {
		files++
		room, _, _ := strings.Cut(rel, "/")
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("%s: the top-level folder %s is not part of the house", rel, room)
			return
		}
		for _, imp := range importsOf(t, path) {
			inner, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			other, _, _ := strings.Cut(inner, "/")
			if other == room || contains(allowed, other) || room == "e2e" && contains(toolsForE2E, inner) {
				continue
			}
			t.Errorf("%s imports %s: %s may import only %v", rel, imp, room, allowed)
		}
	})
	if files < 20 {
		t.Fatalf("only %d Go files found: the test looks in the wrong place", files)
	}
}

// TestPureIsSaidEverywhere: the map's diamonds, the list above and the linter's path are of the same packages.
func TestPureIsSaidEverywhere(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var drawn []string
	for _, m := range regexp.MustCompile("`([a-z/]+)` ◆").FindAllStringSubmatch(read("ARCHITECTURE.md"), -1) {
		drawn = append(drawn, m[1])
	}
	path := regexp.MustCompile(`path-except: \^\(([^)]*)\)`).FindStringSubmatch(read(".golangci.yml"))
	if path == nil {
		t.Fatal(".golangci.yml has no path-except")
	}
	linted := strings.Split(path[1], "|")
	for name, list := range map[string][]string{"ARCHITECTURE.md": drawn, ".golangci.yml": linted} {
		for _, p := range pure {
			if !contains(list, p) {
				t.Errorf("%s does not say that %s is pure", name, p)
			}
		}
		for _, p := range list {
			if !contains(pure, p) {
				t.Errorf("%s says that %s is pure, and no test holds it to that", name, p)
			}
		}
	}
}

// TestMapIsWhole: the map names every package, those of e2e by their last name in one row.
func TestMapIsWhole(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	goFiles(t, func(rel, _ string) {
		dir := filepath.ToSlash(filepath.Dir(rel))
		if told[dir] {
			return
		}
		told[dir] = true
		if strings.HasSuffix(dir, "test") { // a package's test suite or helpers stand beside it
			return
		}
		name := dir
		for _, parent := range []string{"e2e/", "tier/object/", "metadata/"} { // whose rows name what is in them
			if rest, ok := strings.CutPrefix(dir, parent); ok {
				name = strings.TrimPrefix(rest, "internal/")
			}
		}
		if !strings.Contains(string(text), "`"+name+"`") && !strings.Contains(string(text), "`"+dir+"`") {
			t.Errorf("%s is not on the map (ARCHITECTURE.md)", dir)
		}
	})
}

func TestPurePackagesDoNoIO(t *testing.T) {
	goFiles(t, func(rel, path string) {
		dir := filepath.ToSlash(filepath.Dir(rel))
		if !contains(pure, dir) || strings.HasSuffix(rel, "_test.go") {
			return
		}
		for _, imp := range importsOf(t, path) {
			if contains(impure, imp) && !contains(allowedImpure[dir], imp) {
				t.Errorf("%s imports %s, but %s is pure", rel, imp, dir)
			}
		}
	})
}

// TestEtcdStaysInItsRoom: all etcd knowledge is in one package (and in the tests that start one).
func TestEtcdStaysInItsRoom(t *testing.T) {
	goFiles(t, func(rel, path string) {
		if strings.HasPrefix(rel, "metadata/etcd/") || strings.HasPrefix(rel, "e2e/") {
			return
		}
		for _, imp := range importsOf(t, path) {
			if strings.HasPrefix(imp, "go.etcd.io/") {
				t.Errorf("%s imports %s: only metadata/etcd knows etcd", rel, imp)
			}
		}
	})
}

// later lists the invariants that speak of what does not exist yet, with what they wait for. A label leaves
// this list with the first code that it speaks of.
var later = map[string]string{
	"I-06": "transactions", "I-14": "archive compaction", "I-15": "archive compaction",
	"I-26": "replication", "I-27": "replication", "I-28": "replication", "I-29": "a quorum of etcd", "I-30": "the controller",
	"I-34": "security", "I-37": "replication", "I-39": "restore",
}

func TestEveryInvariantHasATest(t *testing.T) {
	label := regexp.MustCompile(`\bI-(\d\d)\b`)
	named := make(map[string][]string)
	goFiles(t, func(rel, path string) {
		if !strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "e2e/house/") {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range label.FindAllString(string(b), -1) {
			if !contains(named[id], rel) {
				named[id] = append(named[id], rel)
			}
		}
	})
	for n := 1; n <= 39; n++ {
		id := "I-" + string(rune('0'+n/10)) + string(rune('0'+n%10))
		files := named[id]
		sort.Strings(files)
		switch {
		case len(files) > 0:
			t.Logf("%s %s", id, strings.Join(files, " "))
		case later[id] != "":
			t.Logf("%s waits for %s", id, later[id])
		default:
			t.Errorf("%s: no test names it", id)
		}
	}
}
