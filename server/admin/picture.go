package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/plain"
)

const fleetPath = "/mimir/v1/fleet"

// Fleet returns the fleet as one node sees it. A client that gives up who is silent ([GivingUp]) does so here too: an
// endpoint that answers for itself and does not tell of the fleet keeps nobody from the picture of the next, and is
// waited for no longer than such a picture takes it, and the silence.
func (c *Client) Fleet(ctx context.Context) (*replication.FleetStatus, error) {
	if c.silence == 0 {
		f := &replication.FleetStatus{}
		err := c.get(ctx, fleetPath, f)
		inWords(f)
		return f, err
	}
	a, by, failures := race(ctx, c, pictureOf)
	switch {
	case by != "":
		return a.fleet, a.refused
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %s had not answered", ctx.Err(), strings.Join(c.endpoints, ", "))
	}
	return nil, fmt.Errorf("%w: %s", ErrNoEndpoint, strings.Join(failures, "; "))
}

// pictured is what an endpoint answered who was asked for the fleet: a picture, or that it does not tell.
type pictured struct {
	fleet   *replication.FleetStatus
	refused error // an Error
}

// pictureOf asks one endpoint for the fleet.
func pictureOf(ctx context.Context, c *Client, endpoint string) (a pictured, err error) {
	var page struct {
		FleetWithin float64 `json:"fleetWithinSeconds"`
	}
	if err := reach(ctx, c, endpoint, &page); err != nil {
		return a, err
	}
	bound := c.answer // of a version that does not say how long it takes
	if page.FleetWithin > 0 {
		bound = min(bound, time.Duration(page.FleetWithin*float64(time.Second))+c.silence)
	}
	asking, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	f, began := &replication.FleetStatus{}, time.Now()
	err = c.ask(asking, http.MethodGet, endpoint, fleetPath, nil, f)
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return pictured{refused: err}, nil
	case err != nil && ctx.Err() == nil && asking.Err() != nil:
		return a, &SilentError{Endpoint: endpoint, After: bound, Step: stepFleet}
	case err != nil:
		return a, plainly(endpoint, began, err)
	}
	inWords(f)
	return pictured{fleet: f}, nil
}

// inWords has what a node says of itself be read by people.
func (n *Node) inWords() {
	n.Problem = plain.Words(n.Problem)
	if n.Votes == nil {
		return
	}
	n.Votes.Why = plain.Words(n.Votes.Why)
	for i := range n.Votes.Voters {
		n.Votes.Voters[i].Problem = plain.Words(n.Votes.Voters[i].Problem)
	}
}

// inWords has what nodes say of others they could not ask be read by people.
func inWords(f *replication.FleetStatus) {
	all := [][]string{f.Warnings, f.Notes}
	for i := range f.Regions {
		r := &f.Regions[i]
		r.Problem, r.Activity, r.Moving = plain.Words(r.Problem), plain.Words(r.Activity), plain.Words(r.Moving)
	}
	for _, list := range all {
		for i := range list {
			list[i] = plain.Words(list[i])
		}
	}
}
