package replication

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/members"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/rewind"
	"github.com/mimir-kv/mimir/replication/internal/secondary"
	"github.com/mimir-kv/mimir/replication/internal/slots"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/internal/transfer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// copyPort gives the room of a secondary the copies that this node keeps.
type copyPort struct {
	region  string
	addr    string // of this node
	staging *transfer.Staging
	client  *peer.Client
	members *members.Directory
	late    *late
}

// Fetch implements secondary.Copies.
func (c copyPort) Fetch(
	ctx context.Context, addr string, minEpoch Epoch, term uint64,
	fits func(region string, c *succession.Copy) error, progress func(checkpoint.Progress),
) (succession.Copy, error) {
	r := transfer.Request{Region: c.region, Have: c.staging.Partial(), MinEpoch: minEpoch}
	id, d, err := c.staging.FetchIf(ctx, addr, r, func(id string, d *transfer.Description) error {
		return fits(d.Region, &succession.Copy{ID: id, Origin: d.Origin})
	}, progress)
	if err != nil {
		return succession.Copy{}, err
	}
	c.staging.Keep(id, term)
	return succession.Copy{ID: id, Origin: d.Origin}, nil
}

// Offer implements secondary.Copies.
func (c copyPort) Offer(ctx context.Context, addr, id string, term uint64) error {
	_, err := peer.Ask(ctx, c.client, addr, transfer.AskStage, transfer.StageRequest{ID: id, From: c.addr, Term: term})
	return err
}

// Discard implements secondary.Copies.
func (c copyPort) Discard(id string) { c.staging.Discard(id) }

// Differs implements secondary.Copies.
func (c copyPort) Differs(ctx context.Context, addr, id string) (bool, error) {
	giver := c.staging.GiverOf(id)
	if giver == 0 {
		return false, nil
	}
	q := transfer.Giver{Region: c.region, Node: giver}
	f, err := peer.Ask(ctx, c.client, addr, transfer.AskGiver, q)
	return f.Differs, err
}

// Sound implements secondary.Copies.
func (c copyPort) Sound(ctx context.Context, id string) error { return c.staging.Sound(ctx, id, nil) }

// Holds implements secondary.Copies.
func (c copyPort) Holds(id string) bool {
	_, err := c.staging.Dir(id)
	return err == nil
}

// Copying implements secondary.Copies.
func (c copyPort) Copying(ctx context.Context, addr string, p Position) error {
	_, err := peer.Ask(ctx, c.client, addr, slots.AskCopying, slots.CopyNotice{Region: c.region, Position: p})
	return err
}

// Making implements secondary.Copies.
func (c copyPort) Making(ctx context.Context, addr string) (done, total int64, err error) {
	m, err := peer.Ask(ctx, c.client, addr, transfer.AskMaking, transfer.MakingFor{Region: c.region})
	return m.Done, m.Total, err
}

// heldTimeout bounds the question to one node which copies it has.
const heldTimeout = time.Second

// candidate is a copy that a node of the region has.
type candidate struct {
	addr string // "" is here
	transfer.Held
}

// Held implements secondary.Copies. What is here is taken before what is as far elsewhere, if it is what came.
func (c copyPort) Held(
	ctx context.Context, w secondary.Wanted, progress func(addr string, p checkpoint.Progress),
) (*succession.Copy, error) {
	var err error
	for _, x := range c.candidates(ctx, &w) {
		at := cmp.Or(x.addr, c.addr)
		progress(at, checkpoint.Progress{})
		came := func(p checkpoint.Progress) { progress(at, p) }
		if x.addr == "" {
			err = c.staging.Sound(ctx, x.ID, came)
		} else {
			_, _, err = c.staging.Fetch(ctx, x.addr, transfer.Request{Region: c.region, ID: x.ID}, came)
		}
		if err == nil {
			c.staging.Keep(x.ID, w.Term)
			return &succession.Copy{ID: x.ID, Origin: x.Description.Origin}, nil
		}
		if x.addr != "" {
			break
		}
	}
	return nil, err
}

// candidates returns the copies that fit and that nodes of the region have, the furthest first.
func (c copyPort) candidates(ctx context.Context, w *secondary.Wanted) (all []candidate) {
	wanted := transfer.Wanted{Region: w.Source, MinEpoch: w.MinEpoch, After: w.After, Term: w.Term}
	take := func(addr string, held []transfer.Held) {
		for _, h := range held {
			if !w.Had[h.ID] && w.Fits(h.Description.Origin) == nil {
				all = append(all, candidate{addr, h})
			}
		}
	}
	take("", c.staging.Held(wanted))
	for _, addr := range c.members.Others() {
		asking, cancel := context.WithTimeout(ctx, heldTimeout)
		held, err := peer.Ask(asking, c.client, addr, transfer.AskHeld, wanted)
		cancel()
		if err == nil { // one that is gone, or of a version before, tells nothing
			take(addr, held)
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Compare(b.Description.Origin.Cursor.Position, a.Description.Origin.Cursor.Position)
	})
	return all
}

// Rewind implements secondary.Copies.
func (c copyPort) Rewind(
	ctx context.Context, addr string, index uint64, reigns []timeline.Reign,
) (succession.Copy, error) {
	q := rewind.Request{Index: index, Reigns: reigns}
	made, err := rewind.Made{}, error(nil)
	if addr == "" {
		made, err = c.late.rewinds.Prepare(ctx, q)
	} else {
		made, err = peer.Ask(ctx, c.client, addr, rewind.Ask, q)
	}
	return succession.Copy{ID: made.ID, Origin: made.Origin}, err
}

// stagingPort gives the region the copies on this node, wherever they came from.
type stagingPort struct {
	*transfer.Staging
	late *late
	life *life.Life
}

// Dir implements region.Staging.
func (s stagingPort) Dir(id string) (string, error) {
	if dir, ok := s.late.rewinds.State(id); ok {
		return dir, nil
	}
	return s.Staging.Dir(id)
}

// Discard implements region.Staging.
func (s stagingPort) Discard(id string) {
	if _, ok := s.late.rewinds.State(id); ok {
		s.late.rewinds.Discard(id)
		return
	}
	s.Staging.Discard(id)
}

// Spoiled implements region.Staging.
func (s stagingPort) Spoiled(id string) {
	if _, ok := s.late.rewinds.State(id); ok {
		s.late.rewinds.Discard(id)
		return
	}
	s.Staging.Spoiled(id)
}

// Remake implements region.Staging.
func (s stagingPort) Remake(st *timeline.State, index uint64, id string, o *timeline.Origin) {
	s.late.rewinds.Remake(s.life.Context(), st, index, id, o)
}
