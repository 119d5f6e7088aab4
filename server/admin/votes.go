package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// Pause is the body of a call that pauses automatic failover; without a Reason it is resumed.
type Pause struct {
	Reason string `json:"reason,omitempty"`
}

// Hold is the body of a call that has the primary stay where it is; without a For that ends.
type Hold struct {
	For time.Duration `json:"forNanos,omitempty"`
}

// Recovery is the body of a call that makes a region the only voter.
type Recovery struct {
	Keep string `json:"keep"`
	// At is where a region that is kept delayed begins; nil: at its last position.
	At *replication.Point `json:"at,omitempty"`
}

// Founding is the body of a call that forms a new fleet.
type Founding struct {
	Primary string `json:"primary"`
}

// Founded is what such a call has done: it formed the fleet, or, sent to a node that waits for others of its region,
// that region.
type Founded struct {
	*replication.Reign
	Formed *replication.Formation `json:"formed,omitempty"`
}

// decode reads the body of a call, and reports whether it could be read; else it is refused.
func decode(w http.ResponseWriter, r *http.Request, in any) bool {
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	body.DisallowUnknownFields()
	if err := body.Decode(in); err != nil {
		refuse(w, http.StatusBadRequest, "body: "+err.Error())
		return false
	}
	return true
}

func (h *handler) enableVotes(w http.ResponseWriter, r *http.Request) {
	var in replication.VoteSettings
	if !decode(w, r, &in) {
		return
	}
	ctx, cancel := lasting(r)
	defer cancel()
	charter, err := h.Voting.Enable(ctx, in)
	h.orderedCharter(r, "votes enable", "", charter, err)
	answer(w, charter, err)
}

func (h *handler) pauseFailover(w http.ResponseWriter, r *http.Request) {
	var in Pause
	if !decode(w, r, &in) {
		return
	}
	ctx, cancel := lasting(r)
	defer cancel()
	charter, err := h.Voting.Pause(ctx, in.Reason)
	if in.Reason == "" {
		h.orderedCharter(r, "automatic failover resume", "", charter, err)
	} else {
		h.orderedCharter(r, "automatic failover pause", in.Reason, charter, err)
	}
	answer(w, charter, err)
}

func (h *handler) holdPrimary(w http.ResponseWriter, r *http.Request) {
	var in Hold
	if !decode(w, r, &in) {
		return
	}
	h.Logger.Warn("hold of the primary asked for", "for", in.For, "by", r.RemoteAddr)
	ctx, cancel := lasting(r)
	defer cancel()
	charter, err := h.Voting.Hold(ctx, in.For)
	h.orderedCharter(r, "hold", "for "+in.For.String(), charter, err)
	answer(w, charter, err)
}

func (h *handler) changeVotes(w http.ResponseWriter, r *http.Request) {
	var in replication.VoteChange
	if !decode(w, r, &in) {
		return
	}
	ctx, cancel := lasting(r)
	defer cancel()
	charter, err := h.Voting.Change(ctx, in)
	h.orderedCharter(r, "votes change", "", charter, err)
	answer(w, charter, err)
}

func (h *handler) recoverVotes(w http.ResponseWriter, r *http.Request) {
	var in Recovery
	if !decode(w, r, &in) {
		return
	}
	ctx, cancel := lastingFor(r, RecoveryTime(h.Replicator.Health().Votes))
	defer cancel()
	if in.At != nil {
		reign, err := h.Voting.RecoverAt(ctx, in.Keep, *in.At)
		h.orderedReign(r, "votes recover", in.Keep, reign, err)
		answer(w, reign, err)
		return
	}
	reign, err := h.Voting.Recover(ctx, in.Keep)
	h.orderedReign(r, "votes recover", in.Keep, reign, err)
	answer(w, reign, err)
}

func (h *handler) found(w http.ResponseWriter, r *http.Request) {
	var in Founding
	if !decode(w, r, &in) {
		return
	}
	ctx, cancel := lasting(r)
	defer cancel()
	if in.Primary == h.Replicator.Health().Region { // else nobody vouches for who is left out of this one
		formed, err := h.Replicator.FormRegion(ctx)
		if formed != nil || err != nil {
			h.ordered(r, replication.Order{Op: "fleet init", What: "of the region"}, replication.Event{}, err)
			answer(w, Founded{Formed: formed}, err)
			return
		}
	}
	reign, err := h.Replicator.Found(ctx, in.Primary)
	h.orderedReign(r, "fleet init", in.Primary, reign, err)
	answer(w, Founded{Reign: reign}, err)
}

// Found forms a new fleet, if there is none, or the region of a node that waits for others of it.
func (c *Client) Found(ctx context.Context, primary string) (*Founded, error) {
	out := &Founded{}
	return out, c.post(ctx, "/mimir/v1/fleet/init", Founding{primary}, out)
}

// RecoverVotes makes a region primary and the only voter; where at is not nil, at a point in what it has and does not
// show.
func (c *Client) RecoverVotes(
	ctx context.Context, keep string, at *replication.Point,
) (*replication.Reign, error) {
	out := &replication.Reign{}
	return out, c.post(ctx, "/mimir/v1/votes/recover", Recovery{Keep: keep, At: at}, out)
}

// EnableVotes has the fleet vote about its primary.
func (c *Client) EnableVotes(ctx context.Context, s replication.VoteSettings) (*replication.Charter, error) {
	out := &replication.Charter{}
	return out, c.post(ctx, "/mimir/v1/votes/enable", s, out)
}

// PauseFailover has nothing move by itself while reason is not empty.
func (c *Client) PauseFailover(ctx context.Context, reason string) (*replication.Charter, error) {
	out := &replication.Charter{}
	return out, c.post(ctx, "/mimir/v1/votes/pause", Pause{reason}, out)
}

// HoldPrimary has the primary stay where it is for d; zero ends that.
func (c *Client) HoldPrimary(ctx context.Context, d time.Duration) (*replication.Charter, error) {
	out := &replication.Charter{}
	return out, c.post(ctx, "/mimir/v1/votes/hold", Hold{d}, out)
}

// ChangeVotes changes who votes, and by which rules.
func (c *Client) ChangeVotes(ctx context.Context, change replication.VoteChange) (*replication.Charter, error) {
	out := &replication.Charter{}
	return out, c.post(ctx, "/mimir/v1/votes/change", change, out)
}
