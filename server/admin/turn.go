package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// turnPatience is how long an endpoint may be silent before the next is asked as well: one that stands still must not
// keep a person from the answer of another.
const turnPatience = 300 * time.Millisecond

// inTurn returns the endpoints in the order in which to try them: as they were given, but first the one that answered
// first when they were asked one after the other, each as soon as the one before it failed or was silent for a while.
// If none answered that small question, none is worth a wait for a larger one: that is ErrNoEndpoint, with what became
// of each.
func (c *Client) inTurn(ctx context.Context) ([]string, error) {
	if len(c.endpoints) < 2 && c.silence == 0 {
		return c.endpoints, nil
	}
	_, by, failures := race(ctx, c, func(ctx context.Context, c *Client, endpoint string) (struct{}, error) {
		return struct{}{}, c.reachable(ctx, endpoint)
	})
	switch {
	case by != "":
		return first(by, c.endpoints), nil
	case ctx.Err() != nil:
		return c.endpoints, nil // each of them is said not to have answered
	}
	return nil, fmt.Errorf("%w: %s", ErrNoEndpoint, strings.Join(failures, "; "))
}

// race asks the endpoints of c one after the other, each as soon as the one before it failed or was silent for
// turnPatience, and returns the first answer and whose it is. If there is none, by is empty: all failed, or ctx ended.
func race[T any](
	ctx context.Context, c *Client, ask func(ctx context.Context, c *Client, endpoint string) (T, error),
) (won T, by string, failures []string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.waits.begin(ctx, c.endpoints...)()
	type answer struct {
		endpoint string
		value    T
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
				return a.value, a.endpoint, nil
			}
			failures = append(failures, a.err.Error())
		case <-ctx.Done():
			return won, "", failures
		}
		if asked < len(c.endpoints) {
			endpoint := c.endpoints[asked]
			go func() {
				value, err := ask(ctx, c, endpoint)
				answers <- answer{endpoint, value, err}
			}()
			asked++
			waiting++
			silence.Reset(turnPatience)
		}
	}
	return won, "", failures
}

// first returns the endpoints with one of them at the head.
func first(endpoint string, endpoints []string) []string {
	rest := slices.DeleteFunc(slices.Clone(endpoints), func(e string) bool { return e == endpoint })
	return append([]string{endpoint}, rest...)
}
