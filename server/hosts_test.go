package server

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
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
	c.AllowedHosts = []string{"db.example"}
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
	status := func(host string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.ClientURL()+"/version", nil)
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
	if a, b := status("db.example"), status(""); a != http.StatusOK || b != http.StatusMisdirectedRequest {
		t.Errorf("of that name %d, of the address %d", a, b)
	}
	told <- struct{}{}
	eventually(t, "the address is allowed, and the name no longer", func(context.Context) bool {
		return status("") == http.StatusOK && status("db.example") == http.StatusMisdirectedRequest
	})
}
