package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// clientOf returns a client of one endpoint.
func clientOf(t *testing.T, endpoint string) *Client {
	t.Helper()
	c, err := NewClient([]string{endpoint}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestNobodyIsSentOn: who is at an endpoint sends its clients to another place, and nobody there hears of them, nor of
// their token, whatever they ask for.
func TestNobodyIsSentOn(t *testing.T) {
	var heard atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", other.URL+r.URL.Path+"?\u009b")
			w.WriteHeader(status)
			w.Write([]byte(`{"error":"look elsewhere"}`)) //nolint:errcheck // the client is gone
		}))
		c := clientOf(t, at.URL)
		for _, c := range []*Client{c.WithToken("secret"), c.Through(http.DefaultTransport)} {
			_, asked := c.Fleet(t.Context())
			_, moved := c.Switchover(t.Context(), "eu")
			_, tails := c.Tails(t.Context())
			for _, err := range []error{asked, moved, tails} {
				if err == nil || !strings.Contains(err.Error(), "sends on to") || errors.As(err, new(*Error)) {
					t.Errorf("%d: %v", status, err)
				}
			}
		}
		at.Close()
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("%d requests went where nobody was told to ask", n)
	}
}

// TestWhatANodeNamesIsOneLine: no control character stands in a text of an answer, and what is none is what it was.
func TestWhatANodeNamesIsOneLine(t *testing.T) {
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text := `{"fleet":"a\nb\r\tc\u001b[\u009B\\n\"\u00e4\/","asked":"us-1"}`
		w.Write([]byte(text)) //nolint:errcheck // the client is gone
	}))
	defer at.Close()
	f, err := clientOf(t, at.URL).Fleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := `a\nb\r\tc\u001b[\u009B\n"ä/`; f.Fleet != want {
		t.Errorf("%q, want %q", f.Fleet, want)
	}
}
