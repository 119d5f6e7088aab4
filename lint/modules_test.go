package lint

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var requirement = regexp.MustCompile(`(?m)^(?:require)?\s+(\S+) (v\S+)`)

// What a package of this tree comes to need, the modules of their own that import it need too. Their tests are run
// apart from these, late, and a requirement that is missing there ends them before they begin.
func TestModulesOfTheirOwnRequireWhatThisTreeNeeds(t *testing.T) {
	for _, dir := range modules(t) {
		needed := needs(t, importedFromHere(t, dir))
		required, sums := read(t, filepath.Join(dir, "go.mod")), read(t, filepath.Join(dir, "go.sum"))
		versions := make(map[string]string)
		for _, match := range requirement.FindAllStringSubmatch(required, -1) {
			versions[match[1]] = match[2]
		}
		for _, path := range needed {
			version, ok := versions[path]
			switch {
			case !ok:
				t.Errorf("%s/go.mod does not require %s: go mod tidy there", dir, path)
			case !strings.Contains("\n"+sums, "\n"+path+" "+version+" h1:"):
				t.Errorf("%s/go.sum has no sum of %s %s: go mod tidy there", dir, path, version)
			}
		}
	}
}

// modules returns the folders below this tree that are modules of their own.
func modules(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || (strings.HasPrefix(d.Name(), ".") && path != "..")):
			return filepath.SkipDir
		case d.IsDir() && path != ".." && isModule(path):
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil || len(dirs) == 0 {
		t.Fatalf("modules of their own: %d, %v", len(dirs), err)
	}
	return dirs
}

// importedFromHere returns the packages of this tree that the module in dir imports, its tests too.
func importedFromHere(t *testing.T, dir string) (paths []string) {
	t.Helper()
	list := exec.Command("go", "list", "-e", "-f", `{{join .Imports "\n"}}
{{join .TestImports "\n"}}
{{join .XTestImports "\n"}}`, "./...")
	list.Dir = dir
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v", dir, err)
	}
	for _, path := range strings.Fields(string(out)) {
		if strings.HasPrefix(path, module) && !isModuleOf(path) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// isModuleOf reports whether the package is in a module of its own.
func isModuleOf(path string) bool {
	for room := strings.TrimPrefix(path, module); room != "."; room = filepath.Dir(room) {
		if isModule(filepath.Join("..", room)) {
			return true
		}
	}
	return false
}

// needs returns the modules that the packages of this tree are built from, this one not among them.
func needs(t *testing.T, paths []string) []string {
	t.Helper()
	if len(paths) == 0 {
		return nil
	}
	args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}"}, paths...)
	list := exec.Command("go", args...)
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := strings.Fields(string(out))
	slices.Sort(found)
	return slices.Compact(found)
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(content)
}
