package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are those that tell a newcomer where things are.
var pages = []string{"CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "README.md", "ARCHITECTURE.md"}

var (
	inCode = regexp.MustCompile("`([^`\n]+)`")
	aPath  = regexp.MustCompile(`^[a-z0-9_.-]+(/[A-Za-z0-9_.-]+)+/?$`)
	aLink  = regexp.MustCompile(`\]\(([^):#]+)(#[^)]*)?\)`)
)

// A path that a page names is there, and so is what it links to.
func TestPagesNameWhatIsThere(t *testing.T) {
	tops := map[string]bool{}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		tops[e.Name()] = e.Name() != "dist" // what commands make: it is there, or not, as one has used them
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join("..", page))
		if err != nil {
			t.Fatal(err)
		}
		var named []string
		for _, m := range inCode.FindAllStringSubmatch(string(text), -1) {
			if top, _, _ := strings.Cut(m[1], "/"); aPath.MatchString(m[1]) && tops[top] {
				named = append(named, m[1])
			}
		}
		for _, m := range aLink.FindAllStringSubmatch(string(text), -1) {
			named = append(named, m[1])
		}
		for _, path := range named {
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(path))); err != nil {
				t.Errorf("%s names %s, which is not there", page, path)
			}
		}
	}
}
