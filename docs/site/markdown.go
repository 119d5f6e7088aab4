package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// section is what stands below a heading, up to the next.
type section struct {
	Level         int
	Title, Anchor string
	Text          string // for the search
}

// page is one of Markdown, read.
type page struct {
	file     string
	Title    string
	Sections []section
	body     []byte   // HTML
	files    []string // of the tree, which it points to
}

var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(
	parser.WithAutoHeadingID()))

// read makes HTML of a file of Markdown. What it points to is looked for in the tree.
func read(tree fs.FS, file string) (*page, error) {
	source, err := fs.ReadFile(tree, file)
	if err != nil {
		return nil, err
	}
	p := &page{file: file}
	context := parser.NewContext(parser.WithIDs(&anchors{taken: map[string]int{}}))
	root := markdown.Parser().Parse(text.NewReader(source), parser.WithContext(context))
	if err := p.link(tree, root); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	keepPlaces(root, source)
	p.take(root, source)
	if p.Title == "" {
		return nil, fmt.Errorf("%s: it has no title", file)
	}
	var out bytes.Buffer
	if err := markdown.Renderer().Render(&out, source, root); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if bytes.Contains(out.Bytes(), []byte("<!-- raw HTML omitted -->")) {
		return nil, fmt.Errorf("%s: it has HTML in it: write Markdown, or code in backquotes", file)
	}
	p.body = bytes.ReplaceAll(out.Bytes(), []byte("<pre>"), []byte(`<pre tabindex="0">`))
	p.body = bytes.ReplaceAll(p.body, []byte("<table>"),
		[]byte(`<div class="wide" role="region" aria-label="Table" tabindex="0"><table>`))
	p.body = bytes.ReplaceAll(p.body, []byte("</table>"), []byte("</table></div>"))
	p.body = bytes.ReplaceAll(p.body, []byte("<th>"), []byte(`<th scope="col">`))
	return p, nil
}

// link has links within the tree name what the site has in their place.
func (p *page) link(tree fs.FS, root ast.Node) error {
	return ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		var err error
		switch n := n.(type) {
		case *ast.Link:
			if entering {
				n.Destination, err = p.target(tree, n.Destination)
			}
		case *ast.Image:
			if entering {
				n.Destination, err = p.target(tree, n.Destination)
			}
		}
		return ast.WalkContinue, err
	})
}

// place is the one element of HTML that pages have: a place to link to, without a heading.
var place = regexp.MustCompile(`^(<a id="[\w-]+">|</a>)$`)

// keepPlaces lets places through, and leaves comments out.
func keepPlaces(root ast.Node, source []byte) {
	var found []*ast.RawHTML
	var comments []ast.Node
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.RawHTML:
			if entering && place.Match(n.Segments.Value(source)) {
				found = append(found, n)
			}
		case *ast.HTMLBlock:
			if entering && bytes.HasPrefix(n.Lines().Value(source), []byte("<!--")) {
				comments = append(comments, n)
			}
		}
		return ast.WalkContinue, nil
	})
	for _, n := range comments {
		n.Parent().RemoveChild(n.Parent(), n)
	}
	for _, raw := range found {
		kept := ast.NewString(raw.Segments.Value(source))
		kept.SetCode(true) // written as it is
		raw.Parent().ReplaceChild(raw.Parent(), raw, kept)
	}
}

// target is where the site has what a link of the page names.
func (p *page) target(tree fs.FS, destination []byte) ([]byte, error) {
	u, err := url.Parse(string(destination))
	if err != nil || u.IsAbs() || u.Host != "" || u.Path == "" {
		return destination, err
	}
	file := path.Join(path.Dir(p.file), u.Path)
	info, err := fs.Stat(tree, file)
	if err != nil {
		return nil, fmt.Errorf("a link to %s: %w", destination, err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("a link to the directory %s: name a file in it", destination)
	}
	p.files = append(p.files, file)
	u.Path = relative(placeOf(p.file), placeOf(file))
	return []byte(u.String()), nil
}

// take reads the title, the headings, and what stands below them.
func (p *page) take(root ast.Node, source []byte) {
	current := &section{}
	for n := root.FirstChild(); n != nil; n = n.NextSibling() {
		heading, is := n.(*ast.Heading)
		if !is {
			current.Text += words(n, source) + " "
			continue
		}
		id, _ := heading.AttributeString("id")
		anchor, _ := id.([]byte)
		p.Sections = append(p.Sections, section{Level: heading.Level, Title: words(n, source), Anchor: string(anchor)})
		current = &p.Sections[len(p.Sections)-1]
		if p.Title == "" {
			p.Title = current.Title
		}
	}
	for i := range p.Sections {
		p.Sections[i].Text = strings.Join(strings.Fields(p.Sections[i].Text), " ")
	}
}

// words are the text of a node, as it is read.
func words(n ast.Node, source []byte) string {
	var out strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Text:
			if entering {
				out.Write(n.Segment.Value(source))
				if n.SoftLineBreak() || n.HardLineBreak() {
					out.WriteByte(' ')
				}
			}
		case *ast.String:
			if entering && !n.IsCode() {
				out.Write(n.Value)
			}
		case *ast.FencedCodeBlock, *ast.CodeBlock:
			if entering {
				out.Write(n.Lines().Value(source))
			}
		default:
			if !entering && n.Type() == ast.TypeBlock {
				out.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return strings.TrimSpace(out.String())
}

// anchors names headings as GitHub does, for which the links of the pages were written.
type anchors struct{ taken map[string]int }

// Generate implements parser.IDs.
func (a *anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	var out strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(plain(string(value)))) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			out.WriteRune(r)
		case r == ' ':
			out.WriteByte('-')
		}
	}
	id := out.String()
	number := a.taken[id]
	a.taken[id]++
	if number > 0 {
		id = fmt.Sprintf("%s-%d", id, number)
	}
	return []byte(id)
}

// Put implements parser.IDs.
func (a *anchors) Put(value []byte) { a.taken[string(value)]++ }

// plain is the text of a heading without what marks code and links in it.
func plain(heading string) string {
	for {
		open := strings.Index(heading, "](")
		if open < 0 {
			return strings.NewReplacer("`", "", "[", "", "]", "").Replace(heading)
		}
		end := strings.IndexByte(heading[open:], ')')
		if end < 0 {
			return heading
		}
		heading = heading[:open] + heading[open+end+1:]
	}
}
