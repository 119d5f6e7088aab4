package reads

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/transport"
)

// What OnAsk returns is a refusal, unless it says that another node, or this one later, has the answer: then, and only
// then, it is asked again. Who asked from another node is told the same.
func TestWhatOnAskReturnsIsARefusal(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		for _, c := range []struct {
			refusal error
			again   bool
		}{
			{fmt.Errorf("ask c: %w", transport.ErrUnreachable), false},
			{fmt.Errorf("%w: write: %w", contract.ErrUnknownOutcome, contract.ErrClosed), false},
			{fmt.Errorf("%w: %w", contract.ErrUnknownOutcome, contract.ErrNotReady), false},
			{contract.ErrUnderReplicated, false},
			{context.Canceled, false},
			{fmt.Errorf("not now: %w", contract.ErrNotReady), true},
			{fmt.Errorf("not here: %w", contract.ErrNotLeader), true},
		} {
			for _, m := range []*member{us, eu} {
				heard := 0
				us.config.OnAsk = func(context.Context, []byte) ([]byte, error) {
					if heard++; heard > 2 {
						return []byte("fine"), nil
					}
					return nil, c.refusal
				}
				got, err := m.Ask(t.Context(), nil)
				if c.again {
					if heard != 3 || err != nil || string(got) != "fine" {
						t.Errorf("%v: heard %d times: %q, %v", c.refusal, heard, got, err)
					}
					continue
				}
				if heard != 1 || peer.Kind(err) != contract.ErrRejected || errors.Is(err, c.refusal) ||
					!strings.Contains(err.Error(), c.refusal.Error()) {
					t.Errorf("%v: heard %d times: %v", c.refusal, heard, err)
				}
			}
		}
	})
}

// However far a question came by then, the end of its caller is told in one way.
func TestTheEndOfAQuestionIsToldInOneWay(t *testing.T) {
	pair(t, func(t *testing.T, us, eu *member) {
		ask := func(when string, m *member) {
			t.Helper()
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second,
				fmt.Errorf("another call: %w", contract.ErrUnderReplicated))
			defer cancel()
			_, err := m.Ask(ctx, nil)
			if peer.Kind(err) != contract.ErrNotReady || !errors.Is(err, context.DeadlineExceeded) ||
				!strings.HasPrefix(err.Error(), contract.ErrNotReady.Error()+": no answer yet: ") {
				t.Errorf("%s: %v", when, err)
			}
		}
		hold := func(ctx context.Context, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}
		us.config.OnAsk = hold
		ask("its answer is due here", us)
		ask("its answer is due from another node", eu)
		us.set(func() { us.open = false })
		ask("nobody takes writes", us)
		ask("nobody takes writes there", eu)
		eu.set(func() { eu.route = standing.Route{} })
		ask("nobody is known to", eu)
	})
}
