package disk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// proofs says, for each package in whose sources something is made durable, which tests fail when one of those
// lines does not: package of the tests and a pattern for -run. Those of tier/hot are told by its stories, not by
// TestEverySyncIsNeeded, to which a line that is gone is a line that no story comes by.
var proofs = map[string][2]string{
	"tier/disk/os.go":           {"tier/disk", "TestOSSyncsForReal"},
	"tier/disk/files.go":        {"tier/hot", "TestStories"},
	"tier/hot":                  {"tier/hot", "TestStories"},
	"tier/hot/mark.go":          {"tier/hot", "TestStories|TestFirstMarkIsDurable"},
	"tier/hot/replay.go":        {"tier/hot", "TestStories|TestDamageOnAFullDiskIsDurable"},
	"tier/hot/snapshots.go":     {"tier/hot", "TestStories|TestProducerSnapshotIsDurable"},
	"tier/hot/flush":            {"tier/hot/flush", "TestSlowLogHoldsUpNoOther|TestSyncAll"},
	"tier/hot/flush/removal.go": {"tier/hot/flush", "TestRemovalIsOneStep"},
	"tier/hot/flush/journal.go": {"tier/hot", "TestStories"},
	"tier/hot/flush/upkeep.go":  {"tier/hot", "TestStories"},
	"tier/hot/checkpoint":       {"tier/hot", "TestStories"},
	"tier/object/dir":           {"tier/object/dir", "TestDurableBeforePutReturns|TestSyncsForReal"},
	"broker/node":               {"broker/node", "TestDirectoryIDIsDurable|TestDataDirIsDurable"},
	"metadata/etcd":             {"metadata/etcd", "TestFolderIsDurable"},
}

// noProduct are sources that are no part of the broker (they make no record durable): what only tests use.
var noProduct = regexp.MustCompile(`^(e2e/|tier/disk/disktest/|tier/disk/(faulty|crashable|crashable_file|faults|faults_image)\.go$|tier/object/objecttest/)`)

// syncing are the names of functions and methods that make something durable. (SyncFileRange does not.)
var syncing = []string{"Sync", "Datasync", "SyncDir", "Fsync", "Fdatasync", "Syncfs",
	"WritevSync", "Pwritev2", "WriteFileSync", "MkdirAllSync", "syncFolder", "syncRoot"}

// site is a place in the sources where one of them is called, or given away as a value.
type site struct {
	file, name string // file from the module's root
	line       int
	from, to   int // bytes
	call       bool
}

func (s site) String() string { return fmt.Sprintf("%s:%d %s", s.file, s.line, s.name) }

// proof finds the entry of proofs that is responsible.
func (s site) proof() (p [2]string, ok bool) {
	if p, ok = proofs[s.file]; !ok {
		p, ok = proofs[filepath.ToSlash(filepath.Dir(s.file))]
	}
	return p, ok
}

const moduleRoot = "../.."

// syncSites finds all of them in the module's sources.
func syncSites(t *testing.T) []site {
	var sites []site
	err := filepath.WalkDir(moduleRoot, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, moduleRoot+"/"))
		switch {
		case d.IsDir() && path != moduleRoot && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !noProduct.MatchString(name):
			found, err := sitesOf(name)
			sites = append(sites, found...)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sites
}

func sitesOf(name string) ([]site, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, filepath.Join(moduleRoot, name), nil, 0)
	if err != nil {
		return nil, err
	}
	var sites []site
	seen := map[ast.Node]bool{} // names that belong to a call or a selector that was noted, or to a declaration
	note := func(n, as ast.Node, what string, call bool) {
		at := set.Position(n.Pos())
		sites = append(sites, site{file: name, name: what, line: at.Line, from: at.Offset, to: set.Position(n.End()).Offset, call: call})
		seen[as] = true
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			seen[n.Name] = true
		case *ast.Field: // of an interface or a struct, or a parameter
			for _, id := range n.Names {
				seen[id] = true
			}
		case *ast.CallExpr:
			if what := syncName(n.Fun); what != "" {
				note(n, n.Fun, what, true)
			}
		case *ast.SelectorExpr:
			if what := syncName(n); what != "" && !seen[n] {
				note(n, n, what, false)
			}
			seen[n.Sel] = true
		case *ast.Ident:
			if slices.Contains(syncing, n.Name) && !seen[n] {
				note(n, n, n.Name, false)
			}
		}
		return true
	})
	return sites, nil
}

// syncName returns the name of what fun denotes if it makes something durable, or nothing. The object store in a
// folder syncs by way of two fields.
func syncName(fun ast.Expr) string {
	switch fun := fun.(type) {
	case *ast.Ident:
		if slices.Contains(syncing, fun.Name) {
			return fun.Name
		}
	case *ast.SelectorExpr:
		of, ok := fun.X.(*ast.SelectorExpr)
		if slices.Contains(syncing, fun.Sel.Name) || ok && of.Sel.Name == "sync" && (fun.Sel.Name == "file" || fun.Sel.Name == "folder") {
			return fun.Sel.Name
		}
	}
	return ""
}

// TestEverySyncHasItsTest: whoever makes something durable in a package that did not, says here which tests fail
// without it; TestNoSyncCanGo removes it and sees.
func TestEverySyncHasItsTest(t *testing.T) {
	used := map[[2]string]bool{}
	for _, s := range syncSites(t) {
		p, ok := s.proof()
		if !ok {
			t.Errorf("%s: no test is named that fails without it", s)
		}
		used[p] = true
	}
	for where, p := range proofs {
		if !used[p] {
			t.Errorf("nothing is synced in %s", where)
		}
		for _, name := range strings.Split(p[1], "|") {
			if !declared(t, p[0], name) {
				t.Errorf("%s has no test %s", p[0], name)
			}
		}
	}
}

func declared(t *testing.T, pkg, test string) bool {
	files, err := filepath.Glob(filepath.Join(moduleRoot, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && bytes.Contains(b, []byte("\nfunc "+test+"(t *testing.T)"))
	})
}

// TestNoSyncCanGo builds the program once without each line that makes something durable, and demands that the test
// that is named for it fails (I-01). All of them take minutes: a short run takes the real system calls only.
func TestNoSyncCanGo(t *testing.T) {
	sites := syncSites(t)
	if os.Getenv("FIRN_E2E_FULL") != "1" {
		sites = slices.DeleteFunc(sites, func(s site) bool { return s.file != "tier/disk/os.go" })
	}
	if len(sites) < 2 {
		t.Fatalf("only %d lines found that make something durable", len(sites))
	}
	whole := map[[2]string]bool{}
	for _, s := range sites {
		p, ok := s.proof()
		if ok && !whole[p] {
			whole[p] = true
			if out, failed := runWithout(t, nil, p); failed {
				t.Fatalf("%v fails as it is:\n%s", p, out)
			}
		}
	}
	for _, s := range sites {
		t.Run(s.String(), func(t *testing.T) {
			p, ok := s.proof()
			if !ok {
				t.Fatal("no test is named that fails without it")
			}
			out, failed := runWithout(t, &s, p)
			if !failed {
				t.Fatalf("%v notices nothing", p)
			}
			for _, line := range strings.Split(out, "\n") {
				if strings.Contains(line, "--- FAIL") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// runWithout runs tests on sources without a site, and tells whether they failed.
func runWithout(t *testing.T, s *site, tests [2]string) (output string, failed bool) {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(moduleRoot)
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	if s != nil {
		for name, text := range s.without(t) {
			to := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
			if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(root, name)] = to
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "test.exe")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	pkg := filepath.Join(root, tests[0])
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlayFile, "-o", binary, ".")
	build.Dir = pkg
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("it does not compile without %v: %v\n%s", s, err, out)
	}
	run := exec.Command(binary, "-test.run", "^("+tests[1]+")$", "-test.timeout", "30s")
	run.Dir = pkg
	out, err := run.CombinedOutput()
	return string(out), err != nil
}

// unsynced are WriteFileSync and MkdirAllSync as somebody would write them who does not think of power cuts.
const unsynced = `
func writeFileSync(fsys FS, name string, data []byte) error {
	if err := writeTmp(unsynced{fsys}, name+TmpSuffix, data); err != nil {
		return err
	}
	return fsys.Rename(name+TmpSuffix, name)
}

func mkdirAllSync(fsys FS, name string, perm fs.FileMode) error { return fsys.MkdirAll(name, perm) }

// The same for other packages.
var (
	Without_WriteFileSync = writeFileSync
	Without_MkdirAllSync  = mkdirAllSync
)

type unsynced struct{ FS }

func (u unsynced) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := u.FS.OpenFile(name, flag, perm)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ File }

func (unsyncedFile) Datasync() error { return nil }
`

// without gives the sources that change when the site is removed. All that it evaluates stays in use.
func (s site) without(t *testing.T) map[string]string {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(moduleRoot, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	text := read(s.file)
	here := text[s.from:s.to]
	const files = "tier/disk/files.go"
	switch {
	case s.name == "WriteFileSync" || s.name == "MkdirAllSync":
		changed := text[:s.from] + strings.Replace(here, "disk."+s.name, "disk.Without_"+s.name, 1) + text[s.to:]
		return map[string]string{s.file: changed, files: read(files) + unsynced}
	case s.name == "WritevSync":
		here = "func() error { _, err := " + strings.Replace(here, "WritevSync", "WritevAt", 1) + "; return err }()"
	case s.name == "Pwritev2":
		here = strings.Replace(here, "unix.RWF_DSYNC", "0", 1)
	case s.call:
		here = "func() error { if false { return " + here + " }; return nil }()"
	case s.name == "syncFolder":
		here = "func(string) error { return nil }"
	default:
		here = "func(*os.File) error { return nil }"
	}
	return map[string]string{s.file: text[:s.from] + here + text[s.to:]}
}
