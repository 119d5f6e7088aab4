package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/mimir-kv/mimir/"

// file is one Go file of the tree.
type file struct {
	path string // from the root of the tree, with slashes
	room string // its folder
	test bool
	set  *token.FileSet
	ast  *ast.File
	size int // lines
}

// tree returns every Go file of this module, parsed, which nobody changes.
func tree(t *testing.T) []file {
	t.Helper()
	files, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// parsed is the tree, once it was parsed. Nothing here runs beside anything.
var parsed = func() func() ([]file, error) {
	var files []file
	var err error
	return func() ([]file, error) {
		if files == nil && err == nil {
			files, err = parse()
		}
		return files, err
	}
}()

// parse parses every Go file of this module; folders with a go.mod of their own are other modules.
func parse() (files []file, err error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() && ((rel != "." && isModule(path)) || d.Name() == "testdata" ||
			(strings.HasPrefix(d.Name(), ".") && rel != ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(rel, ".go") {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, rel, source, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, file{
			path: rel, room: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(rel, "_test.go"),
			set: set, ast: parsed, size: strings.Count(string(source), "\n"),
		})
		return nil
	})
	return files, err
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func (f *file) imports() []string {
	var paths []string
	for _, i := range f.ast.Imports {
		paths = append(paths, strings.Trim(i.Path.Value, `"`))
	}
	return paths
}

// within reports whether the room is dir or lies in it.
func within(room, dir string) bool { return room == dir || strings.HasPrefix(room, dir+"/") }
