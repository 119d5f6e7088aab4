package replication_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// TestOtherAddressesOfARegionAreThoseAtWhichItAnswers, by the order, and not by what is in force.
func TestOtherAddressesOfARegionAreThoseAtWhichItAnswers(t *testing.T) {
	growing(t, nil, func(f *growingFleet) {
		f.write("us-1", 3)
		f.found("ap", 1)
		f.add("us-1", "ap")
		f.everywhere()
		for _, c := range []struct {
			region, at, says string
			want             error
		}{
			{"ap", "ap-9", "no node of it answers at ap-9", replication.ErrNotReady},
			{"ap", "eu-1", `at eu-1 a node of region "eu" answers`, replication.ErrRejected},
			{"eu", "ap-1", `at ap-1 a node of region "ap" answers`, replication.ErrRejected},
		} {
			order := replication.RegionAddition{Region: c.region, Peers: []string{c.at}}
			done, err := f.nodes["us-1"].Topology().Add(f.t.Context(), order)
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s at %s: %+v, %v", c.region, c.at, done, err)
			}
		}
		f.knows("us-1", 1, "ap", "eu", "us")
		f.write("us-1", 1)
		f.everywhere()
	})
}
