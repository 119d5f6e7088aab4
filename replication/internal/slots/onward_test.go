package slots

import (
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// What a region acknowledged to another counts as far as that one has acknowledged the same here, and the rest as soon
// as it has; nothing counts of one that is forgotten.
func TestAnAcknowledgementThroughAHop(t *testing.T) {
	history := newPast(20)
	tracker := NewTracker(history)
	said := func(epoch contract.Epoch, p contract.Position) {
		t.Helper()
		h := through{By: "eu", acknowledgement: acknowledgement{Region: "ap", Epoch: epoch, Position: p}}
		if a, counts := tracker.hop(h); counts {
			tracker.acknowledge(a)
		}
	}
	has := func(want contract.Position) {
		t.Helper()
		if got := tracker.within(&history.state)["ap"]; got != want {
			t.Errorf("ap has %d, want %d", got, want)
		}
	}
	said(3, 15) // by one of which nothing is known: it may have another history of that reign
	has(0)
	tracker.acknowledge(acknowledgement{Region: "sa", Epoch: 3, Position: 20})
	tracker.acknowledge(acknowledgement{Region: "eu", Epoch: 3, Position: 14})
	has(14)
	tracker.acknowledge(acknowledgement{Region: "eu", Epoch: 3, Position: 15})
	has(15)
	said(3, 12) // late
	said(3, 14)
	has(15)
	said(3, 18)
	said(3, 17) // out of order
	has(15)
	tracker.acknowledge(acknowledgement{Region: "eu", Epoch: 3, Position: 18})
	has(18)
	said(1, 15) // a tail that this history has not
	has(18)
	said(3, 20)
	tracker.forget("ap")
	tracker.acknowledge(acknowledgement{Region: "eu", Epoch: 3, Position: 20})
	has(0)
	tracker.forget("eu")
	said(3, 20)
	has(0)
}

// Where what a region has comes by its hop before the hop's own acknowledgement each time, it counts as far as that one
// has come: else a write would wait for as long as others come behind it.
func TestAnAcknowledgementThroughAHopDoesNotStarve(t *testing.T) {
	history := newPast(30)
	tracker := NewTracker(history)
	eu := func(epoch contract.Epoch, p contract.Position) {
		tracker.acknowledge(acknowledgement{Region: "eu", Epoch: epoch, Position: p})
	}
	ap := func(epoch contract.Epoch, p contract.Position) {
		h := through{By: "eu", acknowledgement: acknowledgement{Region: "ap", Epoch: epoch, Position: p}}
		if a, counts := tracker.hop(h); counts {
			tracker.acknowledge(a)
		}
	}
	eu(1, 9)
	ap(3, 12)
	if got := tracker.within(&history.state)["ap"]; got != 0 {
		t.Errorf("ap has %d by the word of one of another reign", got)
	}
	for p := contract.Position(13); p <= 20; p++ {
		ap(3, p)
		eu(3, p-1)
		if got := tracker.within(&history.state)["ap"]; got != p-1 {
			t.Fatalf("ap has %d where eu has %d, and says that ap has %d", got, p-1, p)
		}
	}
}
