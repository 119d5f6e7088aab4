package slots

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// through is what a region acknowledged to another one, By, which it follows in the place of the primary. It travels as
// JSON: never change a name.
type through struct {
	acknowledgement
	By string `json:"by"`
	// Reign is that of Epoch: of two claims to one epoch the epoch alone does not tell.
	Reign timeline.Reign `json:"reign"`
}

// To the leader of the region that the asking one follows. It may be asked twice. The name is on the wire.
const askThrough = peer.Question[through, peer.Nothing]("ack-through")

// onward is what this region, a secondary, heard of those that follow it, and passes on to whom it follows.
type onward struct {
	wake wake.Signal

	mu   sync.Mutex
	news acknowledgements
}

func (o *onward) note(a acknowledgement) {
	o.mu.Lock()
	o.news.note(a)
	o.mu.Unlock()
	o.wake.Nudge()
}

func (o *onward) take() acknowledgements {
	o.mu.Lock()
	defer o.mu.Unlock()
	news := o.news
	o.news = acknowledgements{}
	return news
}

// RunOnward passes on what regions that follow this one acknowledge, to the leader of the region that this one follows,
// until ctx ends. What is lost is said again: whoever serves a region says every interval what it has.
func (s *Slots) RunOnward(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.onward.wake:
		}
		for _, a := range s.onward.take() {
			addr, state := s.config.Upstream(), s.config.Applied.State()
			reign := reignOf(state, a.Epoch)
			if a.apart(acknowledgement{Epoch: a.Epoch, Reign: reign}) {
				continue // of a claim that this region has left meanwhile
			}
			if addr == "" || state.Role() != timeline.Secondary || reign.Epoch == 0 {
				continue
			}
			asking, cancel := context.WithTimeout(ctx, s.config.Timeout)
			_, err := peer.Ask(asking, s.config.Client, addr, askThrough, through{a, s.config.Region, reign})
			cancel()
			if err != nil && ctx.Err() == nil {
				s.config.Logger.Debug("acknowledgement of a region that follows here not passed on",
					"secondary", a.Region, "position", a.Position, "err", err)
			}
		}
	}
}

// hop takes on the leader what a region acknowledged to By. It counts as far as By itself is known to have that very
// history from here: the rest when By has acknowledged it.
func (s *Slots) hop(ctx context.Context, h through) error {
	if err := peer.MaySpeak(ctx, h.By); err != nil {
		return err
	}
	regions, state := s.config.Others(), s.config.Applied.State()
	switch {
	case h.By == h.Region || !slices.Contains(regions, h.By) || !slices.Contains(regions, h.Region):
		return fmt.Errorf("%w: %s, by %s", contract.ErrUnknownRegion, h.Region, h.By)
	case !s.config.Leadership.Leads():
		return contract.ErrNotLeader
	case !slices.Contains(state.Reigns, h.Reign) || h.Reign.Epoch != h.Epoch:
		return fmt.Errorf("%w: epoch %d of %s is not in the history here", contract.ErrRejected, h.Epoch,
			h.Reign.Primary)
	}
	h.acknowledgement.Reign = h.Reign // of which the outer one alone is on the wire
	if a, counts := s.tracker.hop(h); counts {
		return s.acknowledge(a)
	}
	return nil
}

// hop notes what a region acknowledged to another, and returns how much of it that one has acknowledged here.
func (t *Tracker) hop(h through) (a acknowledgement, counts bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.apart(t.acked[h.By]) {
		return a, false // it is said again when By has come over
	}
	if h.newer(t.acked[h.By]) {
		if before := t.ahead[h.Region]; before.By != h.By || h.newer(before.acknowledgement) {
			t.ahead[h.Region] = h
		}
		return h.upTo(t.acked[h.By])
	}
	return h.acknowledgement, true
}

// upTo returns how much of what a region acknowledged counts where By has acknowledged less: what it has of one reign
// is a part of what the other one has, and of two reigns that is not said.
func (h *through) upTo(by acknowledgement) (a acknowledgement, counts bool) {
	a = acknowledgement{Region: h.Region, Epoch: by.Epoch, Position: by.Position, Reign: h.Reign}
	return a, by.Epoch == h.Epoch && !a.apart(by)
}

// follow notes what regions acknowledged to one that has just acknowledged more here, and returns what of it counts
// now. The caller holds mu.
func (t *Tracker) follow(region string) (counts []acknowledgement) {
	by := t.acked[region]
	for name, h := range t.ahead {
		if h.By != region {
			continue
		}
		if !h.newer(by) && !h.apart(by) {
			t.acked.note(h.acknowledgement)
			counts = append(counts, h.acknowledgement)
			delete(t.ahead, name)
		} else if a, some := h.upTo(by); some {
			t.acked.note(a)
			counts = append(counts, a)
		}
	}
	return counts
}
