package admin

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// What a client with connections of its own asks comes over one of them, whoever else asks at the same address: behind
// a balancer that is one node, the one that said who it is.
func TestApartHasConnectionsOfItsOwn(t *testing.T) {
	from := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = r.RemoteAddr
		_, _ = w.Write([]byte(`{"node":"us-1"}`))
	}))
	defer s.Close()
	c, err := NewClient([]string{s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	over := func(c *Client) string {
		t.Helper()
		if _, err := c.Node(t.Context()); err != nil {
			t.Fatal(err)
		}
		return from
	}
	first := over(c)
	own, other := Apart(c), Apart(c)
	defer own.Close()
	defer other.Close()
	mine, theirs := over(own), over(other)
	if mine == first || theirs == first || mine == theirs {
		t.Errorf("%s, %s and %s are not three connections", first, mine, theirs)
	}
	if a, b, c := over(own), over(other), over(c); a != mine || b != theirs || c != first {
		t.Errorf("asked again: over %s, %s, %s; before: %s, %s, %s", a, b, c, mine, theirs, first)
	}
}
