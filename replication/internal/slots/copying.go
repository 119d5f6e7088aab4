package slots

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// copyLease is how long log is kept for a region that takes a copy after it was last heard of.
const copyLease = 10 * time.Minute

// CopyNotice says that a region takes a copy: it will need what follows the copy's position. Zero: it is not known yet.
type CopyNotice struct {
	Region   string            `json:"region"`
	Position contract.Position `json:"position,omitempty"`
}

// AskCopying tells a node of the source, of which any may have to serve the stream behind the copy.
const AskCopying = peer.Question[CopyNotice, peer.Nothing]("copying")

// copying is a region that takes a copy. Until it has caught up the log behind the copy is kept for it up to
// CopyRetainBytes, or it would have to begin anew when it has the copy.
type copying struct {
	from  contract.Position // of the copy
	slot  contract.Position // of the region when the copy was begun: what moves its slot afterwards came by the stream
	heard time.Time
}

// registerCopying makes this node answer the question "copying".
func (s *Slots) registerCopying(r *peer.Registry) {
	peer.Handle(r, AskCopying, peer.FleetNode, func(ctx context.Context, n CopyNotice) (peer.Nothing, error) {
		if err := peer.MaySpeak(ctx, n.Region); err != nil {
			return peer.Nothing{}, err
		}
		return peer.Nothing{}, s.Copying(n.Region, n.Position)
	})
}

// Copying says that a region takes, or has, a copy of the state at p; zero: of one that is not older than what is
// applied here. It is told again while that goes on. Errors: ErrUnknownRegion, and ErrNotReady if the log does not lead
// on from p, or no further than is allowed: the region then needs another copy.
func (s *Slots) Copying(region string, p contract.Position) error {
	c := &s.config
	if !slices.Contains(c.Others(), region) {
		return fmt.Errorf("%w: %s", contract.ErrUnknownRegion, region)
	}
	state := c.Applied.State()
	if p != 0 {
		_, bytes, err := c.Log.behind(p)
		if err != nil {
			return fmt.Errorf("%w: log behind a copy at %d: %w", contract.ErrNotReady, p, err)
		}
		if bytes > c.CopyRetainBytes {
			return fmt.Errorf("%w: %d bytes of log behind a copy at %d, the bound is %d", contract.ErrNotReady,
				bytes, p, c.CopyRetainBytes)
		}
	}
	s.mu.Lock()
	now, held := s.copies[region], s.slotNow(state, region)
	known := now != nil
	switch {
	case !known && p == 0:
		p = state.Cursor.Position
		fallthrough
	case !known, p != 0 && p != now.from:
		now = &copying{from: p, slot: held}
		s.copies[region] = now
	}
	now.heard = c.Clock.Now()
	s.mu.Unlock()
	if !known {
		c.Logger.Info("a region takes a copy; the log behind it is kept", "secondary", region, "position", now.from,
			"bound", c.CopyRetainBytes)
	}
	s.Retain()
	return nil
}

// slotNow returns what a region has acknowledged of this history, or, where it may acknowledge that to another region,
// has by its own word while it follows.
func (s *Slots) slotNow(state *timeline.State, region string) contract.Position {
	slot, _ := slotOf(state, region)
	p := max(slot.Position, s.tracker.within(state)[region])
	if state.Role() == timeline.Primary {
		return p
	}
	v, _ := s.config.Fleet.View()
	if l := v.Regions[region].Leader(); l != nil && l.Following != nil && l.Following.Connected {
		p = max(p, shared(l.Origin(), state))
	}
	return p
}

// copyingFrom returns what a region needs that takes a copy, or goes on behind one.
func (s *Slots) copyingFrom(state *timeline.State, region string) (contract.Position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.copies[region]
	if g == nil {
		return 0, false
	}
	p, _ := g.needs(s.slotNow(state, region))
	return p, true
}

// needs returns what is needed by a region whose slot is at slot, and whether it follows the stream again.
func (g *copying) needs(slot contract.Position) (p contract.Position, follows bool) {
	if slot > g.slot && slot >= g.from {
		return slot, true
	}
	return g.from, false
}

// reviewCopies ends what is over: the region has caught up, was not heard of for too long, or is too far behind.
func (s *Slots) reviewCopies(state *timeline.State) {
	c := &s.config
	s.mu.Lock()
	defer s.mu.Unlock()
	for region, g := range s.copies {
		slot := s.slotNow(state, region)
		p, follows := g.needs(slot)
		_, bytes, err := c.Log.behind(p)
		log := c.Logger.With("secondary", region, "position", p)
		switch {
		case err == nil && bytes > c.CopyRetainBytes:
			log.Warn("the log behind a copy is not kept any more: more was written than CopyRetainBytes before the "+
				"region caught up, and it will need another copy; raise CopyRetainBytes, or write less meanwhile",
				"written", bytes, "bound", c.CopyRetainBytes)
		case isGone(err), follows && bytes <= c.RetainBytes:
			log.Info("no more log than usual is kept for a region that took a copy", "follows", follows)
		case c.Clock.Now().Sub(g.heard) > copyLease:
			log.Warn("a region that took a copy is silent; the log behind it is not kept any more", "silent", copyLease)
		default:
			if follows && slot > g.from {
				g.from, g.slot, g.heard = slot, slot-1, c.Clock.Now() // it goes on: that is a sign of life
			}
			continue
		}
		delete(s.copies, region)
	}
}

// start is when this process began, and how far its log went then.
type start struct {
	last uint64
	at   time.Time
}

// startTime is for how long it is waited at most until what the log had is applied.
const startTime = time.Minute

// resumeCopies goes on keeping what a process before kept behind copies: more log than RetainBytes is there for little
// else. Until what the log had is applied, as much is kept as for a copy, for everybody.
func (s *Slots) resumeCopies(v *region.View) {
	c := &s.config
	s.mu.Lock()
	begun := s.starting
	if begun == nil {
		s.mu.Unlock()
		return
	}
	if begun.at.IsZero() {
		begun.last, begun.at = c.Log.LastIndex(), c.Clock.Now()
	}
	if v.Index >= begun.last || c.Clock.Now().Sub(begun.at) > startTime {
		s.starting = nil
	}
	s.mu.Unlock()
	if v.State.Role() != timeline.Primary {
		return
	}
	for _, region := range c.Others() {
		slot, known := slotOf(&v.State, region)
		if !known || slot.Lost || slot.Position == 0 {
			continue
		}
		_, bytes, err := c.Log.behind(slot.Position)
		if err != nil || bytes-c.Log.BytesFrom(begun.last+1) <= c.RetainBytes || bytes > c.CopyRetainBytes {
			continue // no more was here at the start than is kept for everybody, or too much
		}
		s.mu.Lock()
		known = s.copies[region] != nil
		if !known {
			s.copies[region] = &copying{from: slot.Position, slot: slot.Position - 1, heard: c.Clock.Now()}
		}
		s.mu.Unlock()
		if !known {
			c.Logger.Info("more log than usual is here for a region, as behind a copy; it is kept until the "+
				"region has caught up, or is silent", "secondary", region, "position", slot.Position,
				"bound", c.CopyRetainBytes)
		}
	}
}

// boundFor returns how much log is kept for a region.
func (s *Slots) boundFor(region string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies[region] != nil || s.starting != nil {
		return max(s.config.RetainBytes, s.config.CopyRetainBytes)
	}
	return s.config.RetainBytes
}

// widest returns how much log is kept for anybody.
func (s *Slots) widest() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.copies) > 0 || s.starting != nil {
		return max(s.config.RetainBytes, s.config.CopyRetainBytes)
	}
	return s.config.RetainBytes
}
