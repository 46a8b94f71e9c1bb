package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// The longest that a file and a function may be, in lines; tests are free.
const (
	maxFile     = 600
	maxFunction = 75
)

// TestNothingIsLong: a file holds one idea, and a function fits a screen.
func TestNothingIsLong(t *testing.T) {
	goFiles(t, func(rel, path string) {
		if strings.HasSuffix(rel, "_test.go") || strings.Contains(rel, "test/") { // and the suites that tests share
			return
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n := fset.Position(f.FileEnd).Line; n > maxFile {
			t.Errorf("%s has %d lines", rel, n)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFunction {
				t.Errorf("%s: %s has %d lines", rel, fn.Name.Name, n)
			}
		}
	})
}
