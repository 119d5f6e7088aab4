package partial

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

func prefixes(t *testing.T, texts ...string) Prefixes {
	t.Helper()
	p, err := ParsePrefixes(texts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPrefixesHoldRangesThatAreWithinOne(t *testing.T) {
	p := prefixes(t, "/b/", "/a/", `"\xff\xff"`)
	for _, c := range []struct {
		key, end string
		want     bool
	}{
		{"/a/x", "", true}, {"/a/", "", true}, {"/a", "", false}, {"/b/x", "/b0", true}, {"/b/", "/b1", false},
		{"/a/", "/b0", false}, {"/a/x", "\x00", false}, {"", "", false}, {"\x00", "\x00", false}, {"/", "/c", false},
		{"\xff\xff1", "", true}, {"\xff\xff", "\x00", true}, {"\xff\xff1", "\xff\xff2", true}, {"\xff", "\x00", false},
		{"/a/y", "/a/x", true}, // it is empty
	} {
		if got := p.Hold([]byte(c.key), []byte(c.end)); got != c.want {
			t.Errorf("%q to %q: %v", c.key, c.end, got)
		}
	}
}

func TestPrefixesThatCannotBe(t *testing.T) {
	for _, texts := range [][]string{nil, {""}, {`""`}, {"/a/", "/a/b/"}, {"/a/", "/a/"}, {`"/a`}} {
		if p, err := ParsePrefixes(texts); err == nil {
			t.Errorf("%q: %s", texts, p)
		}
	}
	p := prefixes(t, `"/a b/"`, "/c/")
	if p.String() != `"/a b/", /c/` {
		t.Error(p)
	}
	text, err := json.Marshal(p)
	var again Prefixes
	if err != nil || json.Unmarshal(text, &again) != nil || !again.Equal(p) {
		t.Errorf("%s: %v", text, err)
	}
}

const secret = "0123456789abcdef0123456789abcdef"

func TestTheFileSaysWhoMayFollowWhat(t *testing.T) {
	file := filepath.Join(t.TempDir(), "partial")
	text := "# a comment\n\nedge " + secret + ` /a/ "/b c/"` + "\nshop " + strings.ToUpper(secret) + " /shop/\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRegions(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	own, others := prefixes(t, `"/b c/"`, "/a/"), "its prefixes are others"
	for what, c := range map[string]struct {
		ask
		want string
	}{
		"its own":           {ask{Region: "edge", Secret: secret, Prefixes: own}, ""},
		"another secret":    {ask{Region: "edge", Secret: strings.ToUpper(secret), Prefixes: own}, "secret"},
		"no secret":         {ask{Region: "edge", Prefixes: own}, "secret"},
		"another name":      {ask{Region: "egde", Secret: secret, Prefixes: own}, "secret"},
		"the empty name":    {ask{Prefixes: own}, "secret"},
		"another's":         {ask{Region: "shop", Secret: secret, Prefixes: own}, "secret"},
		"more than it may":  {ask{Region: "edge", Secret: secret, Prefixes: prefixes(t, "/a/", "/b")}, others},
		"less than it does": {ask{Region: "edge", Secret: secret, Prefixes: prefixes(t, "/a/")}, others},
		"everything":        {ask{Region: "edge", Secret: secret, Prefixes: Prefixes{nil}}, others},
	} {
		_, err := r.admit(&c.ask)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, wrong := range []string{
		"edge", "edge " + secret, "edge short /a/", "ed/ge " + secret + " /a/", "edge " + secret + ` "/a/`,
		"edge " + secret + " /a/\nedge " + secret + " /b/", "edge " + secret + " /a/ /a/b",
	} {
		if list, err := parseRegions([]byte(wrong)); err == nil {
			t.Errorf("%q: %v", wrong, list)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	none, err := OpenRegions("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.admit(&ask{Secret: ""}); err == nil {
		t.Error("without a file somebody is let in")
	}
}

func TestChangesArriveAsTheyWereSent(t *testing.T) {
	var body []byte
	sent := []kv.Change{
		{Key: []byte("/a/x"), Version: mvcc.Version{Stamp: mvcc.Stamp{Main: 7, Sub: 3}, Create: 5, Number: 2, Lease: -9,
			Value: []byte("v")}},
		{Key: []byte("/a/y"), Version: mvcc.Version{Stamp: mvcc.Stamp{Main: 8}, Kind: mvcc.KindDelete}},
		{Key: []byte("/a/z"), Version: mvcc.Version{Stamp: mvcc.Stamp{Main: 1 << 50}, Create: 1 << 50, Number: 1}},
	}
	for i := range sent {
		body = appendChange(body, sent[i].Key, &sent[i].Version)
	}
	got, err := changesOf(nil, body)
	if err != nil || len(got) != len(sent) {
		t.Fatalf("%d changes, %v", len(got), err)
	}
	for i := range sent {
		a, b := got[i], sent[i]
		same := a.Stamp == b.Stamp && a.Kind == b.Kind && a.Create == b.Create && a.Number == b.Number &&
			a.Lease == b.Lease && bytes.Equal(a.Value, b.Value) && bytes.Equal(a.Key, b.Key)
		if !same {
			t.Errorf("%v, and %v was sent", a, b)
		}
	}
	for n := range body {
		if list, err := changesOf(nil, body[:n]); err == nil && len(list) == len(sent) {
			t.Errorf("%d of %d bytes are as many changes", n, len(body))
		}
	}
}

func FuzzChanges(f *testing.F) {
	f.Add(appendChange(nil, []byte("/a/x"), &mvcc.Version{Stamp: mvcc.Stamp{Main: 7}, Create: 5, Number: 2}))
	f.Add([]byte{5, 1})
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := changesOf(nil, body)
		if err != nil {
			return
		}
		var again []byte
		for i := range list {
			again = appendChange(again, list[i].Key, &list[i].Version)
		}
		if len(again) > len(body) { // a number may be written longer than it need be
			t.Fatalf("%d bytes are %d changes of %d", len(body), len(list), len(again))
		}
	})
}
