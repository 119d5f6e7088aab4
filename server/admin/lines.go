package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// lines calls visit with each JSON object of an answer. An endpoint that does not begin with it in time is given up for
// the next one; one that falls silent on the way ends it.
func (c *Client) lines(ctx context.Context, path string, visit func(json.RawMessage) error) error {
	return c.each(ctx, func(endpoint string) error {
		if err := reachableAloud(ctx, c, endpoint); err != nil {
			return err
		}
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		began := time.AfterFunc(c.tails, func() {
			end(&SilentError{Endpoint: endpoint, After: c.tails, Step: stepTail})
		})
		body, err := c.open(ctx, http.MethodGet, endpoint, path, nil)
		if began.Stop(); err != nil {
			return silentOr(ctx, err)
		}
		defer body.Close()
		arriving := &arrival{from: body, pause: c.pause}
		arriving.late = time.AfterFunc(c.pause, func() {
			end(fmt.Errorf("nothing more came for %v (%s)", c.pause, stepMidway))
		})
		defer arriving.late.Stop()
		for d := json.NewDecoder(arriving); ; {
			var line json.RawMessage
			if err := d.Decode(&line); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				text := fmt.Sprintf("%s: tail cut short: %v", endpoint, silentOr(ctx, err))
				return &Error{Endpoint: endpoint, Text: text}
			}
			if err := visit(line); err != nil {
				return &visitError{err}
			}
		}
	})
}

// stepMidway is why what was on its way does not come.
const stepMidway = "the process or the disk of the node stands still, or the network to it is cut"

// silentOr returns why ctx was ended for silence, if it was, and err otherwise.
func silentOr(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil && !errors.Is(why, ctx.Err()) {
		return why
	}
	return err
}

// arrival is what comes of an answer. How long nothing came counts while it is waited for, and not while who reads has
// something else to do.
type arrival struct {
	from  io.Reader
	pause time.Duration
	late  *time.Timer
}

func (a *arrival) Read(p []byte) (int, error) {
	a.late.Reset(a.pause)
	defer a.late.Stop()
	return a.from.Read(p)
}
