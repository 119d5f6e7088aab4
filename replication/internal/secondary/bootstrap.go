package secondary

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/progress"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// maxBroken is how often the node that a part of a copy came from is asked for the rest in vain, before another is
// asked for a copy of its own and the part is lost.
const maxBroken = 5

// fetch gets a copy: one that this region has already, since a leader before did not come to install it, or one from
// any node of a nearer region, or of the source.
func (f *Follower) fetch(ctx context.Context, s *session, minEpoch timeline.Epoch) (*succession.Copy, error) {
	if s.part.region != s.source && f.config.Applied.State().Diverged != nil {
		s.copied = copied{} // of the primary before: what has diverged is found by the copy of this one
	}
	near := f.nearer(ctx, s)
	f.gets(cmp.Or(near, s.source))
	n := newNotice(0)
	defer f.announce(ctx, n, near, s.part.region, s.source)()
	view, _ := f.config.Fleet.View()
	var asked []giving
	for _, region := range []string{near, s.source} {
		addresses := f.config.Fleet.Addresses(region)
		if region == "" || len(addresses) == 0 {
			continue
		}
		if c := f.held(ctx, s, giving{region, addresses[0]}, minEpoch); c != nil {
			return c, nil
		}
		asked = append(asked, f.askedOf(&view, region, addresses)...)
	}
	var errs []error
	for _, g := range s.copySources(asked) {
		c, err := f.take(ctx, s, g, n, minEpoch)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("bootstrap from %s: %w", g.addr, err))
		if errors.Is(err, checkpoint.ErrCorrupt) { // it would give the same again
			s.copied = copied{}
			continue
		}
		if ctx.Err() != nil || s.comesBack(g) {
			break
		}
	}
	if len(errs) == 0 {
		return nil, fmt.Errorf("%w: no address of region %s is known", contract.ErrNotReady, s.source)
	}
	return nil, errors.Join(errs...)
}

// take takes a copy from g. n is told where that is as soon as it is known.
func (f *Follower) take(
	ctx context.Context, s *session, g giving, n *notice, minEpoch timeline.Epoch,
) (*succession.Copy, error) {
	f.config.Logger.Info("bootstraps", "source", g.region, "addr", g.addr)
	f.asks(g)
	view, _ := f.config.Fleet.View()
	n.behind(heardAt(view, g))
	c, err := f.config.Copies.Fetch(ctx, g.addr, minEpoch, s.term, func(from string, c *succession.Copy) error {
		err := f.fits(ctx, s, g, from, c)
		if err == nil {
			n.is(c.Origin.Cursor.Position)
		}
		return err
	}, f.progress(s, g))
	if err != nil {
		return nil, err
	}
	s.have(&c, g.region)
	if g.region == s.source {
		f.parts(ctx, &c, g.addr)
	}
	return &c, nil
}

// fits returns why a copy of a region that g offers is of no use, nil if it is of some.
func (f *Follower) fits(ctx context.Context, s *session, g giving, from string, c *succession.Copy) error {
	if from != g.region {
		s.copied = copied{} // the rest of what came from there is not to be had
		return fmt.Errorf("%w: copy of region %s, asked %s", contract.ErrMessage, from, g.region)
	}
	view, _ := f.config.Fleet.View()
	err := leadsOn(view, f.config.Applied.State(), g.region, s.source, c.Origin)
	if err == nil && g.region != s.source {
		err = whole(ctx, f, g, *c)
	}
	if err != nil {
		s.copied, s.near = copied{}, new(max(c.Origin.Cursor.Position, f.has()))
	}
	return err
}

// whole returns why a copy of a nearer region is of no use, nil unless the history here may have something that is
// missing there: what that is the source alone is asked.
func whole(ctx context.Context, f *Follower, g giving, c succession.Copy) error {
	behind, _ := offer{f, c.Origin, g.addr}.missing(ctx)
	if behind == nil {
		return nil
	}
	return fmt.Errorf("%w: the copy of region %s, at position %d, may lack what this region has behind position %d",
		contract.ErrRejected, g.region, c.Origin.Cursor.Position, *behind)
}

// held returns a copy of the region of g that this one has and that leads on, nil if there is none. It is taken once by
// each leader: one from which no log of the source leads on is followed by another that the source makes.
func (f *Follower) held(ctx context.Context, s *session, g giving, minEpoch timeline.Epoch) *succession.Copy {
	if s.part != (giving{}) {
		return nil // the rest of another is on its way
	}
	f.enterPhase(progress.Looking, "bootstrap: looks for a copy that the region has")
	f.gets(g.region)
	view, _ := f.config.Fleet.View()
	w := Wanted{
		Source: g.region, MinEpoch: minEpoch, After: f.has(), Term: s.term, Had: s.had,
		Fits: func(there timeline.Origin) error {
			return leadsOn(view, f.config.Applied.State(), g.region, s.source, there)
		},
	}
	c, err := f.config.Copies.Held(ctx, w, func(addr string, p checkpoint.Progress) {
		if p == (checkpoint.Progress{}) {
			f.asks(giving{g.region, addr})
			return
		}
		f.watch.Came(p, f.config.Clock.Now())
	})
	if err == nil && c != nil && g.region != s.source {
		err = whole(ctx, f, g, *c)
	}
	if err == nil && c != nil {
		err = checkGiver(ctx, f, g.region, c.ID)
	}
	if err != nil {
		f.config.Logger.Info("a copy that this region has is not to be had; fetches another", "err", err)
		return nil
	}
	if c == nil {
		return nil
	}
	f.config.Logger.Info("bootstraps from a copy that this region has", "source", g.region, "copy", c.ID,
		"position", c.Origin.Cursor.Position)
	s.have(c, g.region)
	if g.region == s.source {
		f.parts(ctx, c, g.addr)
	}
	return c
}

// has returns up to where the region has the history, zero if it has another one.
func (f *Follower) has() timeline.Position {
	state := f.config.Applied.State()
	if state.Diverged != nil {
		return 0
	}
	return state.Cursor.Position
}

// have notes that a copy of a region is here.
func (s *session) have(c *succession.Copy, region string) {
	s.copied = copied{at: c.Origin.Cursor.Position, of: region}
	s.had[c.ID] = true
	if region != s.source {
		s.near = new(c.Origin.Cursor.Position)
	}
}

// copySources returns whom to ask, with the one first that has the rest of what is here.
func (c *copied) copySources(all []giving) []giving {
	if c.part == (giving{}) {
		return all
	}
	others := slices.DeleteFunc(slices.Clone(all), func(g giving) bool { return g == c.part })
	return append([]giving{c.part}, others...)
}

// comesBack reports, after a transfer from g broke off, whether the rest will be asked for at the same node.
func (c *copied) comesBack(g giving) bool {
	if g != c.part {
		return false
	}
	if c.broken++; c.broken <= maxBroken {
		return true
	}
	*c = copied{}
	return false
}

// came notes that so many bytes from g are here.
func (c *copied) came(g giving, bytes int64) {
	if c.part != g {
		*c = copied{part: g}
	}
	if bytes > c.most {
		c.most, c.broken = bytes, 0
	}
}

// progress notes how far the copy is that g gives: for people, and for who asks for the rest.
func (f *Follower) progress(s *session, g giving) func(checkpoint.Progress) {
	return func(p checkpoint.Progress) {
		switch p.Stage {
		case checkpoint.Coming:
			s.came(g, p.DoneBytes)
		case checkpoint.Preparing:
			p = f.making(g.addr, p)
		}
		f.watch.Came(p, f.config.Clock.Now())
	}
}

// making returns what is known of a copy that addr makes: what it said of how far that is, if it did, or else how much
// it has gone through, which may have been for others too.
func (f *Follower) making(addr string, p checkpoint.Progress) checkpoint.Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.made; m.by == addr && m.total > 0 {
		p.DoneBytes, p.TotalBytes = m.done, m.total
	}
	return p
}

// askMaking asks the node that makes a copy how far that is.
func (f *Follower) askMaking(ctx context.Context) {
	t := f.watch.Transfer(f.config.Clock.Now())
	if t == nil || t.Phase != progress.Making {
		return
	}
	done, total, err := f.config.Copies.Making(ctx, t.From)
	if err != nil {
		return // a version before, or it is gone
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = made{t.From, done, total}
}

// asks notes that a node is asked for a copy.
func (f *Follower) asks(g giving) {
	f.enterPhase(progress.Asking, "")
	f.mu.Lock()
	f.made, f.giver = made{}, g.region
	f.mu.Unlock()
	f.watch.Begin(g.addr, f.config.Clock.Now())
}

// gets notes whose copy is looked for.
func (f *Follower) gets(region string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.giver = region
}

// enterPhase notes what is being done of a bootstrap. Of one in which something comes the watch knows more.
func (f *Follower) enterPhase(p progress.Phase, activity string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch.End()
	f.activity, f.phase, f.since, f.have, f.needed = activity, p, f.config.Clock.Now(), 0, 0
}

// counts notes how many voters have the copy that is staged, of so many that have to.
func (f *Follower) counts(have, needed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase == progress.Staging {
		f.have, f.needed, f.since = have, needed, f.config.Clock.Now()
	}
}

// bootstrap tells how far the copy is that the region takes, nil if it takes none. f.mu is held.
func (f *Follower) bootstrap() *progress.Bootstrap {
	if f.phase == "" {
		return nil
	}
	now := f.config.Clock.Now()
	b := &progress.Bootstrap{Source: cmp.Or(f.giver, f.current.source), Have: f.have, Needed: f.needed}
	if t := f.watch.Transfer(now); t != nil {
		b.Transfer = *t
		return b
	}
	b.Transfer = progress.Transfer{Phase: f.phase, QuietSeconds: max(now.Sub(f.since), 0).Seconds()}
	return b
}
