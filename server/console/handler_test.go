package console

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// served returns a console that makes pictures with look, and where it is.
func served(t *testing.T, o Options) (*Console, string) {
	t.Helper()
	if o.Greeting == nil {
		o.Greeting = func() Greeting { return Greeting{Node: "us-1", Region: "us", Version: "v"} }
	}
	c := New(o)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /console/", c.Page)
	mux.HandleFunc("GET /console/events", c.Events)
	mux.HandleFunc("GET /console/operator/events", c.OperatorEvents)
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		c.Close()
		s.Close()
	})
	return c, s.URL + "/console/"
}

func get(t *testing.T, url string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// told is one event.
type told struct{ kind, data string }

// next returns the next event of a stream, nil at its end.
func next(t *testing.T, in *bufio.Scanner) *told {
	t.Helper()
	e := &told{}
	for in.Scan() {
		line := in.Text()
		if kind, ok := strings.CutPrefix(line, "event: "); ok {
			e.kind = kind
		} else if data, ok := strings.CutPrefix(line, "data: "); ok {
			e.data = data
		} else if line == "" {
			return e
		}
	}
	return nil
}

// A viewer is greeted, sees pictures, and is told when there is none and why.
func TestEventsTellPicturesAndSilence(t *testing.T) {
	looked := 0
	_, url := served(t, Options{Every: time.Millisecond, Look: func(context.Context) (*Picture, error) {
		if looked++; looked%2 == 0 {
			return nil, fmt.Errorf("us-1:\n%w", context.DeadlineExceeded)
		}
		return &Picture{Fleet: "f", Epoch: "3"}, nil
	}})
	answer := get(t, url+"events")
	if kind := answer.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") ||
		answer.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", answer.Header)
	}
	in := bufio.NewScanner(answer.Body)
	var g Greeting
	if e := next(t, in); e == nil || e.kind != "greeting" || json.Unmarshal([]byte(e.data), &g) != nil ||
		g.Node != "us-1" || g.Every != time.Millisecond {
		t.Fatalf("%+v", e)
	}
	seen := map[string]bool{}
	for !seen["silence"] || !seen["picture"] {
		e := next(t, in)
		if e == nil {
			t.Fatal("the stream ended")
		}
		seen[e.kind] = true
		said := map[string]string{"picture": `"epoch":"3"`, "silence": `"error":"us-1: no answer came in time"`}
		if want := said[e.kind]; want == "" || !strings.Contains(e.data, want) {
			t.Errorf("%+v", e)
		}
	}
}

// A stream ends when its time is over, and when the console is closed; of too many one is refused.
func TestStreamsAreBounded(t *testing.T) {
	look := func(context.Context) (*Picture, error) { return &Picture{}, nil }
	_, url := served(t, Options{Look: look, Lasts: time.Millisecond})
	if text, err := io.ReadAll(get(t, url+"events").Body); err != nil || !strings.Contains(string(text), "greeting") {
		t.Errorf("a stream whose time is over: %v %s", err, text)
	}
	c, url := served(t, Options{Look: look, Most: 1})
	one := bufio.NewScanner(get(t, url+"events").Body)
	next(t, one)
	if answer := get(t, url+"events"); answer.StatusCode != http.StatusServiceUnavailable ||
		answer.Header.Get("Retry-After") == "" {
		t.Errorf("one too many: %s", answer.Status)
	}
	if answer := get(t, url+"operator/events"); answer.StatusCode != http.StatusOK {
		t.Errorf("an operator, where others take all places: %s", answer.Status)
	}
	c.Close()
	for next(t, one) != nil { // it ends
	}
	if answer := get(t, url+"events"); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("after the end: %s", answer.Status)
	}
}

// An address is one whatever the port, and a network of IPv6 is one.
func TestWhereViewersAreFrom(t *testing.T) {
	for remote, want := range map[string]string{
		"10.1.0.1:40000": "10.1.0.1", "[::ffff:10.1.0.1]:7": "10.1.0.1", "[2001:db8:1:2:3::4]:7": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:7": "fe80::/64", "@": "@",
	} {
		if got := from(&http.Request{RemoteAddr: remote}); got != want {
			t.Errorf("%s is from %q, want %q", remote, got, want)
		}
	}
}

// The page comes with a policy that lets a browser run nothing else, and is not sent twice.
func TestThePageIsServed(t *testing.T) {
	_, url := served(t, Options{})
	for name, kind := range map[string]string{
		"": "text/html; charset=utf-8", "console.js": "text/javascript; charset=utf-8",
		"console.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		answer := get(t, url+name)
		policy := answer.Header.Get("Content-Security-Policy")
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != kind ||
			!strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") ||
			answer.Header.Get("Set-Cookie") != "" {
			t.Errorf("%q: %s %v", name, answer.Status, answer.Header)
		}
		if again := get(t, url+name, "If-None-Match", answer.Header.Get("ETag")); again.StatusCode !=
			http.StatusNotModified {
			t.Errorf("%q, which the browser has: %s", name, again.Status)
		}
	}
	for _, name := range []string{"nothing", "doc.go", "../handler.go", "page/index.html"} {
		if answer := get(t, url+name); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%q: %s", name, answer.Status)
		}
	}
}

var (
	elsewhere = regexp.MustCompile(`(?i)(https?:)?//[a-z0-9]`)
	aSource   = regexp.MustCompile(`(?:src|href|from)(?:=| )"([^"#]+)"`)
	inline    = regexp.MustCompile(`(?i)<style|<script[^>]*>[^<]|\son[a-z]+=|\sstyle=|javascript:|innerHTML|eval\(`)
)

// Nothing of the page is loaded from elsewhere or stands in it as a script, and what it names is there.
func TestThePageNeedsNothingElse(t *testing.T) {
	named := map[string]bool{index: true}
	for name, f := range files {
		text := strings.ReplaceAll(string(f.text), "http://www.w3.org/2000/svg", "")
		if name == "console.css" || strings.HasSuffix(name, ".js") {
			text = regexp.MustCompile(`(?m)(^|\s)// .*$`).ReplaceAllString(text, "")
		}
		if at := elsewhere.FindString(text); at != "" {
			t.Errorf("%s names %q", name, at)
		}
		if at := inline.FindString(text); at != "" {
			t.Errorf("%s has %q", name, at)
		}
		for _, m := range aSource.FindAllStringSubmatch(text, -1) {
			source := strings.TrimPrefix(m[1], "./")
			named[source] = true
			if _, there := files[source]; !there {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
	}
	for name := range files {
		if !named[name] {
			t.Errorf("%s is there, and nothing names it", name)
		}
		if kinds[name[strings.LastIndexByte(name, '.')+1:]] == "" {
			t.Errorf("%s is of no kind that is known", name)
		}
	}
}

// The page knows by its words where only force is missing: they are those of the library.
func TestThePageKnowsWhatForceIs(t *testing.T) {
	_, text, found := strings.Cut(string(files["orders.js"].text), `const notForced = "`)
	words, _, _ := strings.Cut(text, `"`)
	if !found || words == "" || !strings.Contains(replication.ErrNeedsForce.Error(), words) {
		t.Errorf("%q is not what %q says", words, replication.ErrNeedsForce)
	}
}
