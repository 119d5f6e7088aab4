package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mimir-kv/mimir/server/admin"
)

// A request in plaintext is for a host of the list, if there is one; with TLS, or with * in it, it may be for others.
func TestAllowedHosts(t *testing.T) {
	for _, test := range []struct {
		allowed string
		host    string
		secure  bool
		taken   bool
	}{
		{"", "anything", false, true}, {"*", "anything:2379", false, true}, {"a,*", "b", false, true},
		{"a.example", "a.example", false, true}, {"a.example", "A.Example:2379", false, true},
		{"a.example", "evil.example", false, false}, {"a.example", "", false, false},
		{"a.example", "127.0.0.1:2379", false, false}, {"a.example", "evil.example", true, true},
		{"127.0.0.1,::1", "[::1]:2379", false, true}, {"::1", "[::1]", false, true},
		{"a.example", "a.example.evil", false, false}, {"a.example", "evil.example:a.example", false, false},
		{"a.example", "a.example.:2379", false, true}, {"a.example.", "a.example", false, true},
		{"::1", "[0:0:0:0:0:0:0:1]:2379", false, true}, {"127.0.0.1", "0x7f.1", false, false},
		{"a.example", ".", false, false}, {"a.example", "a.example..", false, false},
		{"a.example", "a.example@evil.example", false, false}, {"a.example", "[a.example", false, false},
		{"::1", "::1%eth0", false, false}, {"a.example", "evil.example\x00a.example", false, false},
	} {
		log := &logged{}
		list := split(test.allowed)
		var allowed atomic.Pointer[[]string]
		allowed.Store(&list)
		served := false
		h := forHosts(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }), &allowed,
			slog.New(slog.NewTextHandler(log, nil)))
		r := httptest.NewRequest(http.MethodGet, "/health", nil)
		r.Host = test.host
		if test.secure {
			r.TLS = &tls.ConnectionState{}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if served != test.taken || served != (w.Code == http.StatusOK) ||
			served == strings.Contains(log.String(), "WARN") || !served && w.Code != http.StatusMisdirectedRequest {
			t.Errorf("%+v: served %t, %d, log %s", test, served, w.Code, log)
		}
	}
	for text, good := range map[string]bool{"a": true, "::1": true, "*": true, "10.0.0.1": true, "a:1": false,
		"http://a": false, "[::1]": false, "": false} {
		if err := hostOf(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The port for clients asks for it, of HTTP/1.1 alone, and the list may change while the node runs.
func TestAllowedHostsOfANode(t *testing.T) {
	c := testConfig(t, "solo")
	c.AllowedHosts, c.ListenHTTP = []string{"db.example"}, freeAddr(t)
	socket := filepath.Join(t.TempDir(), "s")
	c.ListenClient += ",unix://" + socket
	told := make(chan struct{})
	runNodeWith(t, c, Options{HungUp: told, Reload: func() (*Config, error) {
		next := *c
		next.AllowedHosts = []string{"127.0.0.1"}
		return &next, nil
	}})
	client := etcdClient(t, c, TLS{})
	eventually(t, "clients of gRPC are served", func(ctx context.Context) bool {
		_, err := client.Put(ctx, "a", "1")
		return err == nil
	})
	at := func(url, host string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	status := func(host string) int { return at(c.ClientURL()+"/version", host) }
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, "/health": http.StatusOK, "/v3/kv/range": http.StatusMisdirectedRequest,
		"/mimir/v1/node": http.StatusMisdirectedRequest, "/console/": http.StatusMisdirectedRequest,
		"/metrics/../mimir/v1/node": http.StatusMisdirectedRequest, "//metrics": http.StatusMisdirectedRequest,
	} {
		if got := at("http://"+c.ListenHTTP+path, "evil.example"); got != want {
			t.Errorf("listen-http%s: %d, want %d", path, got, want)
		}
	}
	if got := at("http://"+c.ListenHTTP+"/mimir/v1/node", "db.example"); got != http.StatusOK {
		t.Errorf("listen-http, of that name: %d", got)
	}
	near, err := admin.NewClient([]string{"unix://" + socket}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := near.Log(t.Context()); err != nil {
		t.Errorf("through a socket of this machine: %v", err)
	}
	if a, b := status("db.example"), status(""); a != http.StatusOK || b != http.StatusMisdirectedRequest {
		t.Errorf("of that name %d, of the address %d", a, b)
	}
	told <- struct{}{}
	eventually(t, "the address is allowed, and the name no longer", func(context.Context) bool {
		return status("") == http.StatusOK && status("db.example") == http.StatusMisdirectedRequest
	})
}
