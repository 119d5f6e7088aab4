package lint

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	aDotted  = regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Z]\w*)+$`)
	anExport = regexp.MustCompile(`^[A-Z]\w*[a-z]\w*$`)
	aGoFile  = regexp.MustCompile(`^[a-z0-9_]+\.go$`)
	aGoPath  = regexp.MustCompile(`^[a-z0-9_]+(/[a-z0-9_]+)*/[a-z0-9_]+\.go$`)
	inAFile  = regexp.MustCompile("`(\\w+)` in `([^`]+\\.go)`")
)

// shortFor are what pages leave out of the names of rooms.
var shortFor = []string{"", "replication/internal/", "replication/", "kv/", "backup/"}

// theirs are names of others that the pages use.
var theirs = []string{"ReadIndex", "Raft", "errors.Is", "cobra.Command"}

// names are what the tree declares: "package.Name", "Type.Member", "Name", and "file:Name".
type names map[string]bool

func declared(t *testing.T) names {
	n := names{}
	for _, f := range tree(t) {
		for name, of := range declarations(f) {
			n[name], n[f.path+":"+name] = true, true
			for _, holder := range of {
				n[holder+"."+name] = true
			}
		}
	}
	return n
}

// declarations returns what a file declares: by name, the package or the types whose members have it.
func declarations(f file) map[string][]string {
	found := map[string][]string{}
	add := func(of, name string) { found[name] = append(found[name], of) }
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			of := f.ast.Name.Name
			if fn.Recv != nil {
				of = receiver(fn)
			}
			add(of, fn.Name.Name)
		}
	}
	ast.Inspect(f.ast, func(node ast.Node) bool {
		switch s := node.(type) {
		case *ast.ValueSpec:
			for _, name := range s.Names {
				add(f.ast.Name.Name, name.Name)
			}
		case *ast.TypeSpec:
			add(f.ast.Name.Name, s.Name.Name)
			for _, name := range membersOf(s.Type) {
				add(s.Name.Name, name)
			}
		}
		return true
	})
	return found
}

// membersOf returns the fields of a struct, or the methods of an interface.
func membersOf(of ast.Expr) (list []string) {
	var fields *ast.FieldList
	switch of := of.(type) {
	case *ast.StructType:
		fields = of.Fields
	case *ast.InterfaceType:
		fields = of.Methods
	default:
		return nil
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			list = append(list, name.Name)
		}
	}
	return list
}

// TestPagesNameWhatIsDeclared holds the pages that follow the code to it: files, also those that they name without
// their folder, are there, and so are functions, types and fields.
func TestPagesNameWhatIsDeclared(t *testing.T) {
	all := declared(t)
	for _, page := range []string{"ARCHITECTURE.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join("..", page))
		if err != nil {
			t.Fatal(err)
		}
		for paragraph := range strings.SplitSeq(string(text), "\n\n") {
			for _, wrong := range wrongNames(paragraph, all) {
				t.Errorf("%s names %s, which is not there", page, wrong)
			}
		}
	}
}

// wrongNames returns what a paragraph names and the tree does not have. A file without a folder is in one of those that
// were named before it.
func wrongNames(paragraph string, all names) (wrong []string) {
	var folders []string
	for _, m := range inCode.FindAllStringSubmatch(paragraph, -1) {
		name := m[1]
		switch {
		case aGoPath.MatchString(name):
			found := whole(name)
			if found == "" {
				wrong = append(wrong, name)
			}
			folders = append(folders, path.Dir(found))
		case aGoFile.MatchString(name):
			if !slices.ContainsFunc(folders, func(dir string) bool { return isFile(dir + "/" + name) }) {
				wrong = append(wrong, name)
			}
		case isFolder(whole(name)):
			folders = append(folders, whole(name))
		case slices.Contains(theirs, name):
		case aDotted.MatchString(name):
			parts := strings.Split(name, ".")
			for i := range parts[1:] {
				if pair := parts[i] + "." + parts[i+1]; !all[pair] {
					wrong = append(wrong, name)
				}
			}
		case anExport.MatchString(name):
			if !all[name] {
				wrong = append(wrong, name)
			}
		}
	}
	for _, m := range inAFile.FindAllStringSubmatch(paragraph, -1) {
		if file := whole(m[2]); !all[file+":"+m[1]] {
			wrong = append(wrong, m[1]+" in "+m[2])
		}
	}
	return wrong
}

// whole returns the path of a file or folder by the name that pages give it, "" if there is none.
func whole(name string) string {
	for _, prefix := range shortFor {
		if isFile(prefix+name) || isFolder(prefix+name) {
			return prefix + name
		}
	}
	return ""
}

func isFile(name string) bool {
	info, err := os.Stat(filepath.Join("..", filepath.FromSlash(name)))
	return err == nil && info.Mode().IsRegular()
}

func isFolder(name string) bool {
	info, err := os.Stat(filepath.Join("..", filepath.FromSlash(name)))
	return err == nil && info.IsDir() && name != ""
}
