package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// TestTailsThatAreNotAllKnownAreAFailure: a script that asks whether anything was lost reads the exit status, and a
// node that does not answer may have some.
func TestTailsThatAreNotAllKnownAreAFailure(t *testing.T) {
	for silent, want := range map[string]int{"": exitDone, "us-2": exitFailed} {
		var s *httptest.Server
		s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/mimir/v1/tails" {
				fmt.Fprint(w, "[]")
				return
			}
			status := &replication.FleetStatus{Regions: []replication.RegionStatus{{Name: "us"}}}
			for _, name := range []string{"us-1", "us-2"} {
				status.Regions[0].Nodes = append(status.Regions[0].Nodes, replication.NodeStatus{
					Name: name, Reachable: name != silent, ClientURLs: []string{s.URL},
				})
			}
			text, err := admin.Marshal(status)
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(text)
		}))
		got, out, errs := mimir(t, "tail", "list", "--endpoints", strings.TrimPrefix(s.URL, "http://"))
		s.Close()
		if got != want || !strings.Contains(out, "no tails on the nodes that answer") ||
			!strings.Contains(errs, silent) || (errs == "") != (silent == "") {
			t.Errorf("%q silent: exit status %d, want %d\n%s%s", silent, got, want, out, errs)
		}
	}
}
