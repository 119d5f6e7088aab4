package propose

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
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

// over is a stream on which the time is over once something was sent.
type over struct {
	transport.Stream
	sent [][]byte
}

func (o *over) Send(m []byte) error {
	o.sent = append(o.sent, m)
	return nil
}

// Whether a write may still be told to be done is looked at just before it is, however much is told before it.
func TestWhatWaitsBehindAMessageIsLookedAtAfterIt(t *testing.T) {
	s, kept := &over{}, 0
	a := &answers{wake: wake.New(), parts: true, keeps: func(result, func(result)) bool {
		if len(s.sent) > 0 {
			kept++
		}
		return len(s.sent) > 0
	}}
	for i := range uint64(4) {
		a.add(i, result{receipt: &contract.Receipt{Epoch: 1, Position: 1, Results: [][]byte{make([]byte, 400<<10)}}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- a.send(ctx, s) }()
	for a.mu.Lock(); a.next != nil; a.mu.Lock() {
		a.mu.Unlock()
		runtime.Gosched()
	}
	a.mu.Unlock()
	cancel()
	<-ended
	if len(s.sent) != 1 || kept != 2 {
		t.Errorf("%d messages are sent, and %d writes kept; one, of two writes, and two are right", len(s.sent), kept)
	}
}
