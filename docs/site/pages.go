package main

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// group is a part of the navigation.
type group struct {
	Title string
	Pages []string // files of Markdown, as the tree has them
}

// listed are the pages in the order in which to read them. Those of rooms of the code come behind, by themselves.
var listed = []group{
	{"Begin", []string{"README.md", "docs/quickstart.md", "docs/concepts.md", "docs/comparison.md", "docs/faq.md"}},
	{"Operate", []string{"docs/operating.md", "docs/runbooks.md", "docs/console.md", "docs/tracing.md",
		"docs/failover.md", "docs/packages.md", "docs/kubernetes.md", "docs/migration.md",
		"deploy/README.md", "backup/README.md"}},
	{"Secure", []string{"docs/security.md", "docs/auth.md", "docs/certificates.md", "SECURITY.md"}},
	{"Look up", []string{"docs/commands.md", "docs/configuration.md", "docs/etcd-settings.md", "docs/metrics.md",
		"docs/benchmarks.md", "docs/ocean.md", "compat/README.md", "CHANGELOG.md"}},
	{"Understand", []string{"ARCHITECTURE.md", "CONTRIBUTING.md"}},
}

// rooms is the title of the group of those that are not listed.
const rooms = "Rooms of the code"

// navigation returns the listed pages, and behind them the others of the tree.
func navigation(tree fs.FS) ([]group, error) {
	known := map[string]bool{}
	for _, g := range listed {
		for _, page := range g.Pages {
			known[page] = true
			if _, err := fs.Stat(tree, page); err != nil {
				return nil, fmt.Errorf("a page of the list: %w", err)
			}
		}
	}
	rest := group{Title: rooms}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && isBeside(d.Name()):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".md" || known[name]:
			return nil
		case path.Base(name) != "README.md" || path.Dir(name) == "docs":
			return fmt.Errorf("%s is no page of the site: list it in docs/site/pages.go", name)
		}
		rest.Pages = append(rest.Pages, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(rest.Pages)
	return append(slices.Clone(listed), rest), nil
}

// isBeside reports whether a directory is no part of what is documented.
func isBeside(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || slices.Contains([]string{
		"testdata", "dist", "dev-data", "mimir-dev", "node_modules"}, name)
}

// placeOf is where the site has a file of the tree: a page of Markdown as HTML, a picture as it is, anything else as a
// page that shows it.
func placeOf(file string) string {
	switch base := path.Base(file); {
	case base == "README.md":
		return path.Join(path.Dir(file), "index.html")
	case path.Ext(file) == ".md":
		return strings.TrimSuffix(file, ".md") + ".html"
	case path.Ext(file) == ".svg":
		return file
	default:
		return file + ".html"
	}
}

// relative is how a page of the site names another file of it.
func relative(from, to string) string {
	up := strings.Count(from, "/")
	here := strings.Split(from, "/")
	there := strings.Split(to, "/")
	same := 0
	for same < up && same < len(there)-1 && here[same] == there[same] {
		same++
	}
	return strings.Repeat("../", up-same) + strings.Join(there[same:], "/")
}
