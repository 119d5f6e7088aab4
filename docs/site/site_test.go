package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// tree is one in which every listed page is there, and some of them are others.
func tree(pages map[string]string) fstest.MapFS {
	all := fstest.MapFS{}
	for _, g := range listed {
		for _, page := range g.Pages {
			all[page] = &fstest.MapFile{Data: []byte("# A page\n")}
		}
	}
	for name, text := range pages {
		all[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return all
}

// The site of this tree is whole: every link of every page leads to something (build fails else), and it is the same
// each time.
func TestTheSiteOfThisTree(t *testing.T) {
	files, err := build(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	again, err := build(os.DirFS("../.."))
	if err != nil || len(again) != len(files) {
		t.Fatalf("%d files, and then %d: %v", len(files), len(again), err)
	}
	for name, text := range files {
		if !bytes.Equal(text, again[name]) {
			t.Errorf("%s differs when it is made again", name)
		}
	}
	for name, want := range map[string]string{
		"index.html":                      `href="docs/quickstart.html"`,
		"docs/concepts.html":              `src="pictures/failover.svg"`,
		"docs/operating.html":             `<a id="the-target-took-writes"></a>`,
		"docs/console.html":               `aria-current="page"`,
		"replication/timeline/index.html": `href="../../docs/operating.html"`,
		"examples/bolt/store.go.html":     "package bolt",
		"search.js":                       "docs/failover.html#",
	} {
		if !bytes.Contains(files[name], []byte(want)) {
			t.Errorf("%s does not have %s", name, want)
		}
	}
	to := t.TempDir()
	for range 2 {
		if err := write(to, files); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "docs", "concepts.html")); err != nil {
		t.Error(err)
	}
}

// What a reader would stumble over is an error that names the page.
func TestWhatLeadsNowhereIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		file, text, want string
	}{
		"no such page":       {"docs/faq.md", "# A\n[b](none.md)", "docs/faq.md: a link to none.md"},
		"no such heading":    {"docs/faq.md", "# A\n[b](console.md#none)", "docs/faq.html: console.html#none has no such heading"},
		"no heading here":    {"docs/faq.md", "# A\n[b](#none)", "#none has no such heading"},
		"a directory":        {"docs/faq.md", "# A\n[b](../deploy)", "name a file in it"},
		"from elsewhere":     {"docs/faq.md", "# A\n![b](https://example.com/b.png)", "is loaded from elsewhere"},
		"of the machine":     {"docs/faq.md", "# A\n[b](/docs/faq.md)", ""},
		"HTML":               {"docs/faq.md", "# A\n<script>b</script>", "it has HTML in it"},
		"no title":           {"docs/faq.md", "words", "it has no title"},
		"not listed":         {"docs/more.md", "# A", "docs/more.md is no page of the site"},
		"not listed, deeper": {"server/notes.md", "# A", "server/notes.md is no page of the site"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := build(tree(map[string]string{c.file: c.text}))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if strings.Contains(c.want, "has no such heading") && !errors.Is(err, ErrLink) {
				t.Errorf("%v is no ErrLink", err)
			}
		})
	}
	files := tree(nil)
	delete(files, "docs/faq.md")
	if _, err := build(files); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a listed page that is gone: %v", err)
	}
}

// Headings are called what GitHub calls them: the links of the pages work in both.
func TestHeadingsAreCalledAsTheirLinksSay(t *testing.T) {
	a := &anchors{taken: map[string]int{}}
	for _, c := range [][2]string{
		{"What a loss would cost, and what else", "what-a-loss-would-cost-and-what-else"},
		{"`mimir tail` and `etcdctl`", "mimir-tail-and-etcdctl"},
		{"From etcd, and back to it", "from-etcd-and-back-to-it"},
		{"From etcd, and back to it", "from-etcd-and-back-to-it-1"},
		{"See [a page](page.md#x) too", "see-a-page-too"},
		{"k_v – in-place", "k_v--in-place"},
	} {
		if got := string(a.Generate([]byte(c[0]), 0)); got != c[1] {
			t.Errorf("%q: %q, want %q", c[0], got, c[1])
		}
	}
}

func TestOnePageNamesAnother(t *testing.T) {
	for _, c := range [][3]string{
		{"index.html", "docs/faq.html", "docs/faq.html"},
		{"docs/faq.html", "index.html", "../index.html"},
		{"docs/faq.html", "docs/pictures/a.svg", "pictures/a.svg"},
		{"replication/timeline/index.html", "replication/internal/wal/index.html", "../internal/wal/index.html"},
	} {
		if got := relative(c[0], c[1]); got != c[2] {
			t.Errorf("from %s to %s: %s, want %s", c[0], c[1], got, c[2])
		}
	}
}

// A directory that has something else in it is not emptied.
func TestWhatIsNoSiteIsLeftAlone(t *testing.T) {
	to := t.TempDir()
	kept := filepath.Join(to, "mine")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(to, nil); err == nil {
		t.Error("it was taken for a site")
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}
