package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// Whom a region that is added follows is said as by mimir region move, and is said again where the first order did not
// have it so: at a primary that is too old, or of a region that is there and follows another one.
func TestWhomAnAddedRegionFollows(t *testing.T) {
	for _, c := range []struct {
		source, is string // what is ordered, and what the first order leaves
		want       []string
	}{
		{"", "", []string{"add "}},
		{"", "sa", []string{"add "}},
		{"eu", "eu", []string{"add eu"}},
		{"eu", "", []string{"add eu", "move eu"}},
		{"primary", "", []string{"add "}},
		{"primary", "sa", []string{"add ", "move "}},
	} {
		var got []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			what, orders := strings.CutPrefix(r.URL.Path, "/mimir/v1/regions/")
			if !orders {
				_, _ = w.Write([]byte("{}"))
				return
			}
			var order struct{ Source string }
			if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
				t.Error(err)
			}
			change := replication.RegionChange{Region: "ap", Source: c.is}
			got = append(got, what+" "+order.Source)
			if err := json.NewEncoder(w).Encode(&change); err != nil {
				t.Error(err)
			}
		}))
		client, err := admin.NewClient([]string{s.URL}, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := replication.RegionAddition{Region: "ap", Source: c.source}
		if _, err = addRegion(t.Context(), client, a); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q, where it is to follow %q: ordered %q, %v; want %q", c.source, c.is, got, err, c.want)
		}
		client.Close()
		s.Close()
	}
}
