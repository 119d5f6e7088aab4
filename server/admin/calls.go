package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/partial"
)

// Node returns the picture that the first endpoint which answers has of itself.
func (c *Client) Node(ctx context.Context) (*Node, error) {
	n := &Node{HealthStatus: &replication.HealthStatus{}}
	err := c.get(ctx, "/mimir/v1/node", n)
	n.inWords()
	return n, err
}

// Switchover moves the primary without loss. It takes as long as it takes: bound it with ctx.
func (c *Client) Switchover(ctx context.Context, to string) (*replication.MoveReport, error) {
	r := &replication.MoveReport{}
	return r, c.post(ctx, "/mimir/v1/switchover", Move{To: to}, r)
}

// AbortSwitchover takes the switchover under way back.
func (c *Client) AbortSwitchover(ctx context.Context) (*Aborted, error) {
	a := &Aborted{}
	return a, c.post(ctx, "/mimir/v1/switchover/abort", struct{}{}, a)
}

// Failover makes a region primary without the old one.
func (c *Client) Failover(ctx context.Context, to string, force bool) (*replication.MoveReport, error) {
	r := &replication.MoveReport{}
	return r, c.post(ctx, "/mimir/v1/failover", Move{To: to, Force: force}, r)
}

// FailoverAt makes a region that is kept delayed primary, at a point in what it has and does not show.
func (c *Client) FailoverAt(ctx context.Context, to string, at replication.Point) (*replication.MoveReport, error) {
	r := &replication.MoveReport{}
	return r, c.post(ctx, "/mimir/v1/failover", Move{To: to, Force: true, At: &at}, r)
}

// FailoverWithin makes a region primary, where votes are taken, if at most accept acknowledged writes are lost.
func (c *Client) FailoverWithin(ctx context.Context, to string, accept uint64) (*replication.MoveReport, error) {
	r := &replication.MoveReport{}
	return r, c.post(ctx, "/mimir/v1/failover", Move{To: to, AcceptLoss: &accept}, r)
}

// Tails returns the rescue files of the first endpoint that answers.
func (c *Client) Tails(ctx context.Context) ([]replication.TailInfo, error) {
	var tails []replication.TailInfo
	return tails, c.getWithin(ctx, c.tails, "/mimir/v1/tails", &tails)
}

// ReadState calls begin with what is known of the state beside a tail, and then visit with each of its changes, in
// order: those after a revision, or if that is negative those after the fork. It returns an error if they did not all
// come.
func (c *Client) ReadState(
	ctx context.Context, name string, after int64, begin func(*StateHeader) error, visit func(Change) error,
) error {
	path := "/mimir/v1/tails/" + url.PathEscape(name) + "/state"
	if after >= 0 {
		path += "?after=" + strconv.FormatInt(after, 10)
	}
	header := &StateHeader{}
	return c.lines(ctx, path, func(line json.RawMessage) error {
		if header == nil {
			return visit(line)
		}
		h := header
		header = nil
		if err := json.Unmarshal(line, h); err != nil {
			return err
		}
		return begin(h)
	})
}

// ReadTail calls visit with each write of a tail, in order, and returns an error if the tail did not come whole.
func (c *Client) ReadTail(ctx context.Context, name string, visit func(*Write) error) error {
	path := "/mimir/v1/tails/" + url.PathEscape(name)
	return c.lines(ctx, path, func(line json.RawMessage) error {
		w := &Write{}
		if err := json.Unmarshal(line, w); err != nil {
			return err
		}
		return visit(w)
	})
}

// FirstWrites returns the first writes of a tail, so many at most, of the first endpoint that answers. Nodes of before
// send all of them: what is not wanted is not waited for.
func FirstWrites(ctx context.Context, c *Client, name string, most int) ([]*Write, error) {
	writes := []*Write{}
	path := fmt.Sprintf("/mimir/v1/tails/%s?most=%d", url.PathEscape(name), max(0, most))
	err := c.lines(ctx, path, func(line json.RawMessage) error {
		if len(writes) >= most {
			return errEnough
		}
		w := &Write{}
		if err := json.Unmarshal(line, w); err != nil {
			return err
		}
		writes = append(writes, w)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return writes, err
}

// TailFork returns where a tail parted from the history of the first endpoint that answers, which has the tail.
func (c *Client) TailFork(ctx context.Context, name string) (*Fork, error) {
	f := &Fork{}
	return f, c.getWithin(ctx, c.tails, "/mimir/v1/tails/"+url.PathEscape(name)+"/fork", f)
}

// DiscardTail deletes what the first endpoint that answers has of a tail.
func (c *Client) DiscardTail(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, c.tails)
	defer cancel()
	return c.change(ctx, http.MethodDelete, "/mimir/v1/tails/"+url.PathEscape(name), nil, nil)
}

// PartialPath is where a node of a partial region tells how it is.
const PartialPath = "/mimir/v1/partial"

// PartialStanding returns how the first endpoint is that answers, a node of a partial region.
func PartialStanding(ctx context.Context, c *Client) (*partial.Standing, error) {
	s := &partial.Standing{}
	return s, c.get(ctx, PartialPath, s)
}
