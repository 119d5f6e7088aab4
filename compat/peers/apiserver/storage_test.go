package apiserver

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var where = flag.String("apiserver-at", "secondary",
	"where to run the cases: some of primary and secondary, the regions of a fleet of Mimir, and etcd, with commas")

// TestStorage runs every case at each place.
func TestStorage(t *testing.T) {
	places := strings.Split(*where, ",")
	at := map[string][]string{}
	if slices.Contains(places, "primary") || slices.Contains(places, "secondary") {
		at["primary"], at["secondary"] = startMimir(t)
	}
	if slices.Contains(places, "etcd") {
		at["etcd"] = startEtcd(t)
	}
	counts := make([]count, len(places))
	for _, one := range cases() {
		for i, place := range places {
			endpoints, known := at[place]
			if !known {
				t.Fatalf("-apiserver-at: no place %q", place)
			}
			t.Run(one.name+"/"+place, func(t *testing.T) {
				t.Cleanup(func() { counts[i].add(t) })
				for gate, on := range one.gates {
					setGate(t, gate, on)
				}
				root := "/" + place + "/" + one.name
				if one.bare {
					root = ""
				}
				one.run(newStore(t, endpoints, root))
			})
		}
	}
	for i, place := range places {
		c := counts[i]
		fmt.Printf("apiserver: %s: %d passed, %d failed, %d skipped\n", place, c.passed, c.failed, c.skipped)
	}
}

type count struct{ passed, failed, skipped int }

// add counts a case that is over.
func (c *count) add(t *testing.T) {
	switch {
	case t.Failed():
		c.failed++
	case t.Skipped():
		c.skipped++
	default:
		c.passed++
	}
}
