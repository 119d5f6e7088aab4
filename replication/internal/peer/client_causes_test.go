package peer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// The cause of a context is of another call: whatever it is, it does not say what became of an order.
func TestTheCauseOfAContextSaysNothingOfAnOrder(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const silent = Question[int, int]("silent")
		n := memory.NewNetwork(clock.Real, 1)
		a, b := n.Node("a"), n.Node("b")
		r := NewRegistry(func() error { return nil }, nil)
		Handle(r, silent, Anyone, func(ctx context.Context, _ int) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if err := b.Serve(map[string]transport.Handler{Service: r.Serve}); err != nil {
			t.Fatal(err)
		}
		causes := []error{transport.ErrNoService, transport.ErrFleet, transport.ErrTooLarge, transport.ErrUnreachable}
		for _, k := range kinds {
			causes = append(causes, k.err)
		}
		c := NewClient(a)
		for _, cause := range causes {
			ctx, end := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { end(fmt.Errorf("another call: %w", cause)) })
			_, sent := Order(ctx, c, "b", silent, 1)
			_, late := Order(ctx, c, "b", silent, 1)
			_, asked := Ask(ctx, c, "b", silent, 1)
			for _, want := range []struct{ err, kind error }{
				{sent, contract.ErrUnknownOutcome}, {late, contract.ErrNotReady}, {asked, nil},
			} {
				if Kind(want.err) != want.kind || !errors.Is(want.err, context.Canceled) ||
					cause != want.kind && errors.Is(want.err, cause) {
					t.Errorf("%v: %v, want %v", cause, want.err, want.kind)
				}
			}
		}
		a.Close()
		b.Close()
	})
}
