package admin

import (
	"context"
	"net/http"

	"github.com/mimir-kv/mimir/replication"
)

func (h *handler) addRegion(w http.ResponseWriter, r *http.Request) {
	var in replication.RegionAddition
	if !decode(w, r, &in) {
		return
	}
	if h.isPartial(w, in.Region, in.Source) {
		return
	}
	ctx, cancel := lasting(r)
	defer cancel()
	change, err := h.Topology.Add(ctx, in)
	if !in.Try {
		h.orderedRegion(r, "region add", in.Region, err)
	}
	answer(w, change, err)
}

func (h *handler) removeRegion(w http.ResponseWriter, r *http.Request) {
	var in replication.RegionRemoval
	if !decode(w, r, &in) {
		return
	}
	if !in.Try {
		h.Logger.Warn("removal of a region asked for", "remove", in.Region, "gone", in.Gone, "loseTail", in.LoseTail,
			"by", r.RemoteAddr)
	}
	ctx, cancel := lasting(r)
	defer cancel()
	change, err := h.Topology.Remove(ctx, in)
	if !in.Try {
		h.orderedRegion(r, "region remove", in.Region, err)
	}
	answer(w, change, err)
}

func (h *handler) moveRegion(w http.ResponseWriter, r *http.Request) {
	var in replication.RegionSourcing
	if !decode(w, r, &in) {
		return
	}
	if h.isPartial(w, in.Region, in.Source) {
		return
	}
	ctx, cancel := lasting(r)
	defer cancel()
	change, err := h.Topology.Follow(ctx, in)
	if !in.Try {
		h.orderedRegion(r, "region move", in.Region, err)
	}
	answer(w, change, err)
}

func (h *handler) orderedRegion(r *http.Request, op, region string, err error) {
	h.ordered(r, replication.Order{Op: op, What: "region " + region}, replication.Event{Other: region}, err)
}

// Regions asks nodes to have regions come and go. It is safe for concurrent use.
type Regions struct{ client *Client }

// Regions returns what has regions come and go.
func (c *Client) Regions() Regions { return Regions{c} }

// Add has a region be one of the fleet.
func (g Regions) Add(ctx context.Context, a replication.RegionAddition) (*replication.RegionChange, error) {
	out := &replication.RegionChange{}
	return out, g.client.post(ctx, "/mimir/v1/regions/add", a, out)
}

// Remove has a region be none of the fleet any more.
func (g Regions) Remove(ctx context.Context, r replication.RegionRemoval) (*replication.RegionChange, error) {
	out := &replication.RegionChange{}
	return out, g.client.post(ctx, "/mimir/v1/regions/remove", r, out)
}

// Follow says whom a region is to follow.
func (g Regions) Follow(ctx context.Context, o replication.RegionSourcing) (*replication.RegionChange, error) {
	out := &replication.RegionChange{}
	return out, g.client.post(ctx, "/mimir/v1/regions/move", o, out)
}
