package main

import (
	"fmt"
	"io"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// heldReport is what a node sends to another region at a rate at most.
type heldReport struct {
	Node string `json:"node"`
	replication.HeldStatus
}

// tellHeld fills in what the nodes that answered hold back.
func (f *fleetReport) tellHeld() {
	for _, r := range f.Regions {
		for _, n := range r.nodes {
			if n.health == nil {
				continue
			}
			for _, s := range n.health.Held {
				if s.BytesPerSecond > 0 {
					f.Held = append(f.Held, heldReport{n.name, s})
				}
			}
		}
	}
}

func (f *fleetReport) printHeld(w io.Writer) {
	what := map[string]string{"copy": "copies", "stream": "the stream"}
	for _, h := range f.Held {
		name := what[h.Of]
		if name == "" { // of a node that is newer
			name = h.Of
		}
		held := time.Duration(h.HeldSeconds * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(w, "%s holds %s to %s to %s/s; something waited for that for %s since it started\n", h.Node, name,
			h.Region, byteText(uint64(h.BytesPerSecond)), held)
	}
}
