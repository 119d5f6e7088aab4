package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What a web page has a browser send does nothing; what programs send goes through.
func TestPagesDoNothing(t *testing.T) {
	const host, kind = "127.0.0.1:2379", "application/json"
	for _, test := range []struct {
		name, method, host, path, kind, origin, site string
		want                                         int
	}{
		{"the command line", "POST", host, "/mimir/v1/switchover", kind, "", "", 200},
		{"a script without a type", "POST", host, "/v3/kv/put", "application/x-www-form-urlencoded", "", "", 200},
		{"a form", "POST", host, "/mimir/v1/failover", "text/plain", "http://evil.example", "cross-site", 403},
		{"a form of an old browser", "POST", host, "/mimir/v1/failover", "text/plain", "", "", 415},
		{"a form without a type", "POST", host, "/mimir/v1/failover", "", "", "", 415},
		{"a page's put", "POST", host, "/v3/kv/put", "text/plain", "http://evil.example", "", 403},
		{"a page of nowhere", "POST", host, "/v3/kv/put", "text/plain", "null", "", 403},
		{"a page of a neighbour's port", "POST", host, "/v3/kv/put", "text/plain", "http://127.0.0.1:80", "", 403},
		{"a page under a name for this address", "POST", "evil.example:2379", "/v3/kv/put", kind,
			"http://evil.example:2379", "same-origin", 403},
		{"a page reads", "GET", host, "/mimir/v1/tails", "", "", "cross-site", 403},
		{"a page discards", "DELETE", host, "/mimir/v1/tails/x", "", "http://evil.example", "", 403},
		{"somebody looks", "GET", host, "/mimir/v1/node", "", "", "none", 200},
		{"a page of its own", "POST", "db.example:2379", "/v3/kv/range", kind, "http://db.example:2379", "", 200},
		{"a page that is let in", "POST", host, "/v3/kv/range", kind, "https://console.example", "cross-site", 200},
		{"it asks what it may", "OPTIONS", host, "/v3beta/kv/range", "", "https://console.example", "cross-site", 200},
		{"it is no operator", "POST", host, "/mimir/v1/failover", kind, "https://console.example", "cross-site", 403},
		{"it without TLS", "POST", host, "/v3/kv/range", kind, "http://console.example", "cross-site", 403},
		{"it looks at metrics", "GET", host, "/metrics", "", "https://console.example", "cross-site", 403},
	} {
		done := false
		inner := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { done = true })
		h := fromPages(inner, []string{"db.example"}, []string{"https://console.example"})
		r := httptest.NewRequest(test.method, "http://"+test.host+test.path, strings.NewReader("{}"))
		for key, value := range map[string]string{
			"Content-Type": test.kind, "Origin": test.origin, "Sec-Fetch-Site": test.site,
		} {
			if value != "" {
				r.Header.Set(key, value)
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.want || done != (test.want == 200) {
			t.Errorf("%s: %d %s", test.name, w.Code, w.Body)
		}
		if told := w.Header().Get("Access-Control-Allow-Origin"); (told == test.origin && told != "") !=
			(test.origin == "https://console.example" && test.want == 200) {
			t.Errorf("%s: pages of %q are let in", test.name, told)
		}
	}
}

// A link leads to the console, wherever it stands; nothing else of it does what another page wants.
func TestLinksLeadToTheConsole(t *testing.T) {
	for _, test := range []struct {
		name, method, path, mode, dest, origin string
		want                                   int
	}{
		{"a link", "GET", "/console/", "navigate", "document", "", 200},
		{"a frame", "GET", "/console/", "navigate", "iframe", "", 403},
		{"a script", "GET", "/console/", "cors", "empty", "http://evil.example", 403},
		{"a form", "POST", "/console/", "navigate", "document", "http://evil.example", 403},
		{"a link to what it shows", "GET", "/console/events", "navigate", "document", "", 403},
		{"a link to status", "GET", "/mimir/v1/fleet", "navigate", "document", "", 403},
	} {
		h := fromPages(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil, nil)
		r := httptest.NewRequest(test.method, "http://127.0.0.1:2381"+test.path, nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", test.mode)
		r.Header.Set("Sec-Fetch-Dest", test.dest)
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%s: %d %s", test.name, w.Code, w.Body)
		}
	}
}
