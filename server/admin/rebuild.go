package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// rebuildTime bounds what a rebuild may take: a whole state comes over a network.
const rebuildTime = 24 * time.Hour

// Rebuilt is the answer of a node that took the state of a sibling: Kept is the directory, on that node, of what it
// held before.
type Rebuilt struct {
	Node string `json:"node"`
	Kept string `json:"kept"`
}

// rebuild goes on if its caller hangs up.
func (h *handler) rebuild(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), rebuildTime)
	defer cancel()
	kept, err := h.Rebuild(ctx)
	h.ordered(r, replication.Order{Op: "node rebuild", What: kept}, replication.Event{}, err)
	answer(w, Rebuilt{h.Replicator.Health().NodeID, kept}, err)
}

// Rebuild has the first endpoint that answers take the state of a sibling. Name the endpoints of one node. It takes as
// long as it takes: bound it with ctx.
func (s Sums) Rebuild(ctx context.Context) (*Rebuilt, error) {
	r := &Rebuilt{}
	return r, s.client.post(ctx, "/mimir/v1/rebuild", struct{}{}, r)
}
