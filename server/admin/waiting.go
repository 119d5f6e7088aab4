package admin

import (
	"context"
	"strings"
	"time"
)

// firstWord is how long an endpoint may be silent before it is told that it is waited for.
const firstWord = time.Second

// waits has somebody told for whom a client waits.
type waits struct {
	first time.Duration // of silence, before it is told
	tell  func(endpoints string, silent time.Duration)
}

// Telling returns a client that tells for whom it waits, once for each question that is not answered for a second, and
// shares everything else with c. tell may be called by several goroutines; nil: nobody is told. Clients that ask other
// endpoints ([Client.At]) tell nobody.
func Telling(c *Client, tell func(endpoints string, silent time.Duration)) *Client {
	other := *c
	other.waits.tell = tell
	return &other
}

// begin has it told that endpoints are waited for, if they are by then, until what it returns is called.
func (w waits) begin(ctx context.Context, endpoints ...string) (end func()) {
	if w.tell == nil {
		return func() {}
	}
	late := time.AfterFunc(w.first, func() {
		if ctx.Err() == nil {
			w.tell(strings.Join(endpoints, ", "), w.first)
		}
	})
	return func() { late.Stop() }
}
