package admin

import "context"

// Replay is what a node says of the replay of a tail that it does, or did last. Package replays says more of it.
type Replay struct {
	Running bool    `json:"running"`
	Tail    string  `json:"tail,omitempty"`
	DryRun  bool    `json:"dryRun,omitempty"`
	By      string  `json:"by,omitempty"` // as the audit log has who ordered it
	Seconds float64 `json:"seconds"`      // since it began, or that it took
}

// ReplayAt asks the first endpoint of a client that answers whether it replays a tail. Nodes of before know of none.
func ReplayAt(ctx context.Context, c *Client) (*Replay, error) {
	r := &Replay{}
	return r, c.get(ctx, "/mimir/v1/replay", r)
}
