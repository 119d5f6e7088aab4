package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// ErrLink says that a link of the site leads nowhere, or that a page loads something from elsewhere.
var ErrLink = errors.New("a link that leads nowhere, or elsewhere")

// reference is what a page names.
type reference struct {
	to    string
	loads bool // the browser asks for it by itself
}

// check looks whether every link within the site leads to a file, and to an element that is there, and whether all that
// a page loads is of the site.
func check(files map[string][]byte) error {
	ids, references := map[string]map[string]bool{}, map[string][]reference{}
	for name, text := range files {
		if path.Ext(name) != ".html" {
			continue
		}
		root, err := html.Parse(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		ids[name] = map[string]bool{}
		for n := range root.Descendants() {
			if id, has := attribute(n, "id"); has {
				if ids[name][id] {
					return fmt.Errorf("%s: two elements are called %q", name, id)
				}
				ids[name][id] = true
			}
			for _, key := range []string{"href", "src"} {
				if to, has := attribute(n, key); has {
					references[name] = append(references[name], reference{to, key == "src" || n.Data == "link"})
				}
			}
		}
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(references)) {
		for _, r := range references[name] {
			if fault := r.fault(name, files, ids); fault != "" {
				wrong = append(wrong, fmt.Errorf("%w: %s: %s %s", ErrLink, name, r.to, fault))
			}
		}
	}
	return errors.Join(wrong...)
}

func attribute(n *html.Node, key string) (value string, has bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

// fault is what is wrong with a reference of a page, "" if nothing is.
func (r *reference) fault(page string, files map[string][]byte, ids map[string]map[string]bool) string {
	u, err := url.Parse(r.to)
	switch {
	case err != nil:
		return err.Error()
	case u.IsAbs() || u.Host != "":
		if r.loads {
			return "is loaded from elsewhere"
		}
		return ""
	case strings.HasPrefix(u.Path, "/"):
		return "depends on where the site is"
	}
	to := page
	if u.Path != "" {
		to = path.Join(path.Dir(page), u.Path)
	}
	if files[to] == nil {
		return "is not there"
	}
	if u.Fragment != "" && !ids[to][u.Fragment] {
		return "has no such heading"
	}
	return ""
}
