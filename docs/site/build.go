package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

//go:embed look
var look embed.FS

var layout = template.Must(template.ParseFS(look, "look/layout.html"))

// shown is what the layout shows of a page.
type shown struct {
	Title string
	Root  string // how the page names the root of the site, "" or "../" and so on
	Home  string
	Nav   []shownGroup
	On    []section // the headings of the second level
	Body  template.HTML
}

type shownGroup struct {
	Title string
	Links []shownLink
}

type shownLink struct {
	Title, Href string
	Here        bool
}

// build makes every file of the site of a tree, by its name.
func build(tree fs.FS) (map[string][]byte, error) {
	groups, err := navigation(tree)
	if err != nil {
		return nil, err
	}
	pages := map[string]*page{}
	linked := map[string]bool{}
	for _, g := range groups {
		for _, file := range g.Pages {
			p, err := read(tree, file)
			if err != nil {
				return nil, err
			}
			pages[file] = p
			for _, f := range p.files {
				linked[f] = true
			}
		}
	}
	files := map[string][]byte{}
	for _, p := range pages {
		if err := p.show(files, groups, pages, template.HTML(p.body)); err != nil {
			return nil, err
		}
	}
	for file := range linked {
		if pages[file] == nil {
			if err := addFile(tree, files, groups, pages, file); err != nil {
				return nil, err
			}
		}
	}
	if err := addLook(files, groups, pages); err != nil {
		return nil, err
	}
	return files, check(files)
}

// addFile adds a file that is no page of Markdown: a picture as it is, a text as a page that shows it.
func addFile(tree fs.FS, files map[string][]byte, groups []group, pages map[string]*page, file string) error {
	source, err := fs.ReadFile(tree, file)
	switch {
	case err != nil:
		return err
	case path.Ext(file) == ".svg":
		files[placeOf(file)] = source
		return nil
	case !utf8.Valid(source):
		return fmt.Errorf("%s, to which a page points, is no text", file)
	}
	body := `<h1>` + template.HTMLEscapeString(file) + `</h1><pre tabindex="0"><code>` +
		template.HTMLEscapeString(string(source)) + `</code></pre>`
	p := &page{file: file, Title: file}
	return p.show(files, groups, pages, template.HTML(body))
}

// show adds the page to the files.
func (p *page) show(files map[string][]byte, groups []group, pages map[string]*page, body template.HTML) error {
	place := placeOf(p.file)
	s := shown{Title: p.Title, Root: strings.Repeat("../", strings.Count(place, "/")), Body: body,
		Home: relative(place, "index.html")}
	for _, one := range p.Sections {
		if one.Level == 2 {
			s.On = append(s.On, one)
		}
	}
	for _, g := range groups {
		list := shownGroup{Title: g.Title}
		for _, file := range g.Pages {
			list.Links = append(list.Links, shownLink{nameOf(pages[file], g.Title), relative(place, placeOf(file)),
				file == p.file})
		}
		s.Nav = append(s.Nav, list)
	}
	var out bytes.Buffer
	if err := layout.Execute(&out, s); err != nil {
		return fmt.Errorf("%s: %w", p.file, err)
	}
	files[place] = out.Bytes()
	return nil
}

// nameOf is what the navigation calls a page: a room by its path.
func nameOf(p *page, group string) string {
	if group == rooms {
		return strings.TrimPrefix(path.Dir(p.file), "replication/internal/")
	}
	return p.Title
}

// addLook adds what pages are shown by, and what the search looks in.
func addLook(files map[string][]byte, groups []group, pages map[string]*page) error {
	for _, name := range []string{"site.css", "site.js"} {
		text, err := look.ReadFile("look/" + name)
		if err != nil {
			return err
		}
		files[name] = text
	}
	type entry [4]string // page, its title, heading, text
	var index []entry
	for _, g := range groups {
		for _, file := range g.Pages {
			p := pages[file]
			for _, s := range p.Sections {
				index = append(index, entry{placeOf(file) + "#" + s.Anchor, p.Title, s.Title, s.Text})
			}
		}
	}
	text, err := json.Marshal(index)
	files["search.js"] = slices.Concat([]byte("window.mimirPages = "), text, []byte(";\n"))
	return err
}
