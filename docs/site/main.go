// Command site makes the documentation a web site: a page of HTML for each page of Markdown of the tree, and for each
// file that those point to.
//
//	go run . -to ../../dist/site
//
// It is run in docs/site, and is a module of its own, so that what reads Markdown is never linked into Mimir.
//
// It promises:
//
//   - Every page of Markdown of the tree is in the site, and where it is in the list of pages (pages.go). One of docs
//     that is not listed is an error.
//   - Every link within the site leads to a page, and to a heading that is there: one that does not is an error, by
//     which nothing is written.
//   - A page loads nothing from elsewhere, works from a directory without a server, and reads without scripts; the
//     search alone needs one.
//   - The same tree gives the same bytes.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	var from, to string
	flag.StringVar(&from, "from", "../..", "the tree whose pages these are")
	flag.StringVar(&to, "to", "../../dist/site", "directory that gets the site; what is there of a site is replaced")
	flag.Parse()
	if err := run(from, to); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	files, err := build(os.DirFS(from))
	if err != nil {
		return err
	}
	if err := write(to, files); err != nil {
		return fmt.Errorf("write the site: %w", err)
	}
	fmt.Printf("%d files; begin with %s\n", len(files), filepath.Join(to, "index.html"))
	return nil
}

// mark is a file by which a directory is known to be a site, of which everything may be replaced.
const mark = ".mimir-site"

// write replaces the site in a directory. One that has something else in it is left as it is.
func write(to string, files map[string][]byte) error {
	there, err := os.ReadDir(to)
	if err == nil && len(there) > 0 {
		if _, err := os.Stat(filepath.Join(to, mark)); err != nil {
			return fmt.Errorf("%s holds something, and no site: name another directory", to)
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	for name, text := range files {
		path := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(to, mark), nil, 0o644)
}
