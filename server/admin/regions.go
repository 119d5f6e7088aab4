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
	ctx, cancel := lasting(r)
	defer cancel()
	change, err := h.Topology.Add(ctx, in)
	answer(w, change, err)
}

func (h *handler) removeRegion(w http.ResponseWriter, r *http.Request) {
	var in replication.RegionRemoval
	if !decode(w, r, &in) {
		return
	}
	if !in.Try {
		h.Logger.Warn("removal of a region asked for", "remove", in.Region, "gone", in.Gone, "by", r.RemoteAddr)
	}
	ctx, cancel := lasting(r)
	defer cancel()
	change, err := h.Topology.Remove(ctx, in)
	answer(w, change, err)
}

// AddRegion has a region be one of the fleet.
func (c *Client) AddRegion(ctx context.Context, a replication.RegionAddition) (*replication.RegionChange, error) {
	out := &replication.RegionChange{}
	return out, c.post(ctx, "/mimir/v1/regions/add", a, out)
}

// RemoveRegion has a region be none of the fleet any more.
func (c *Client) RemoveRegion(ctx context.Context, r replication.RegionRemoval) (*replication.RegionChange, error) {
	out := &replication.RegionChange{}
	return out, c.post(ctx, "/mimir/v1/regions/remove", r, out)
}
