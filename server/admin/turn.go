package admin

import (
	"context"
	"slices"
	"time"
)

// turnPatience is how long an endpoint may be silent before the next is asked as well: one that stands still must not
// keep a person from the answer of another.
const turnPatience = 300 * time.Millisecond

// inTurn returns the endpoints in the order in which to try them: as they were given, but first the one that answered
// first when they were asked one after the other, each as soon as the one before it failed or was silent for a while.
func (c *Client) inTurn(ctx context.Context) []string {
	if len(c.endpoints) < 2 {
		return c.endpoints
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		endpoint string
		err      error
	}
	answers := make(chan answer, len(c.endpoints))
	silence := time.NewTimer(0)
	defer silence.Stop()
	for asked, waiting := 0, 0; asked < len(c.endpoints) || waiting > 0; {
		select {
		case <-silence.C:
		case a := <-answers:
			waiting--
			if a.err == nil {
				return first(a.endpoint, c.endpoints)
			}
		case <-ctx.Done():
			return c.endpoints
		}
		if asked < len(c.endpoints) {
			endpoint := c.endpoints[asked]
			go func() { answers <- answer{endpoint, c.reachable(ctx, endpoint)} }()
			asked++
			waiting++
			silence.Reset(turnPatience)
		}
	}
	return c.endpoints
}

// first returns the endpoints with one of them at the head.
func first(endpoint string, endpoints []string) []string {
	rest := slices.DeleteFunc(slices.Clone(endpoints), func(e string) bool { return e == endpoint })
	return append([]string{endpoint}, rest...)
}
