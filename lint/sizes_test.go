package lint

import (
	"go/ast"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The ratchet: sizes that read well. They are lowered when the tree allows, and never raised.
const (
	maxFileLines     = 500
	maxFunctionLines = 60
	maxMethods       = 40  // of one type
	maxColumns       = 120 // of a line; a tab counts as tabColumns
	tabColumns       = 4
)

func TestFilesAndLinesAreShort(t *testing.T) {
	for _, f := range tree(t) {
		if f.size > maxFileLines {
			t.Errorf("%s has %d lines: is it one room, or several?", f.path, f.size)
		}
		text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(f.path)))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if n := columns(line); n > maxColumns {
				t.Errorf("%s:%d has %d columns", f.path, i+1, n)
			}
		}
	}
}

func columns(line string) int {
	n := 0
	for _, r := range line {
		if n++; r == '\t' {
			n += tabColumns - 1 - (n-1)%tabColumns
		}
	}
	return n
}

func TestFunctionsFitAScreen(t *testing.T) {
	for _, f := range tree(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			from, to := f.set.Position(fn.Pos()), f.set.Position(fn.End())
			if n := to.Line - from.Line + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines", from, fn.Name.Name, n)
			}
		}
	}
}

func TestTypesHaveFewMethods(t *testing.T) {
	methods := map[string]int{}
	for _, f := range tree(t) {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[f.room+"."+receiver(fn)]++
			}
		}
	}
	for name, n := range methods {
		if n > maxMethods {
			t.Errorf("%s has %d methods: which of them are an object of their own?", name, n)
		}
	}
}

// receiver returns the name of the type that has the method.
func receiver(fn *ast.FuncDecl) string {
	for x := fn.Recv.List[0].Type; ; {
		switch e := x.(type) {
		case *ast.StarExpr:
			x = e.X
		case *ast.IndexExpr:
			x = e.X
		case *ast.IndexListExpr:
			x = e.X
		case *ast.Ident:
			return e.Name
		default:
			return "?"
		}
	}
}

func TestColumns(t *testing.T) {
	for line, want := range map[string]int{"": 0, "abc": 3, "\t": 4, "\tä": 5, "ab\tc": 5, "\t\t": 8} {
		if got := columns(line); got != want {
			t.Errorf("%q has %d columns, got %d", line, want, got)
		}
	}
}
