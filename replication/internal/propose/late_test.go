package propose

import (
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

func (m *member) Cut(e timeline.Epoch, p timeline.Position) (timeline.Reign, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.later, m.later.Epoch > e && m.later.First <= p
}

// What the former primary has answered in time is on its way for as long as the network likes: a node that knows that
// a later reign began before that write, and hence lost it, does not say that it is done. What the later reign kept is.
func TestAnAnswerThatComesAfterItsWriteWasLostIsNone(t *testing.T) {
	for _, test := range []struct {
		what  string
		later timeline.Reign
		kept  bool
	}{
		{"nothing later is known", timeline.Reign{}, true},
		{"a later reign began behind it", timeline.Reign{Epoch: 2, First: 2, Primary: "eu"}, true},
		{"a later reign began before it", timeline.Reign{Epoch: 2, First: 1, Primary: "eu"}, false},
		{"of its own reign", timeline.Reign{Epoch: 1, First: 1, Primary: "us"}, true},
	} {
		for _, o := range []Options{{}, {Regions: 3}} {
			fleetOf(t, plain, func(t *testing.T, a, b *member) {
				a.hold()
				done := make(chan error, 1)
				go func() {
					_, err := b.put(t.Context(), "x", o)
					done <- err
				}()
				virtual.Wait()
				b.mu.Lock()
				b.later = test.later
				b.mu.Unlock()
				a.release()
				err, want := <-done, error(nil)
				switch {
				case !test.kept:
					want = contract.ErrUnknownOutcome
				case o.Regions > 1: // the member's Await
					want = contract.ErrUnderReplicated
				}
				if !errors.Is(err, want) {
					t.Errorf("%s, in %d regions: %v", test.what, o.Regions, err)
				}
			})
		}
	}
}
