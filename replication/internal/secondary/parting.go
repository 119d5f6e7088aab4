package secondary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/stream"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Chains tells chains of this node's history. It is safe for concurrent use.
type Chains interface {
	// Chain returns the chain behind the position p of the reign r, an error if the log does not tell it.
	Chain(r timeline.Reign, p timeline.Position) (timeline.Chain, error)
}

// place asks for the chain behind a position of a reign, in the history that has another one too. It travels as JSON:
// never change a name.
type place struct {
	Reign    timeline.Reign    `json:"reign"`
	Position timeline.Position `json:"position"`
	Leads    timeline.Reign    `json:"leads"`
}

// askChain asks a node for a chain of its history. The name is on the wire.
const askChain = peer.Question[place, timeline.Chain]("chain")

// chainTimeout bounds one such question.
const chainTimeout = 2 * time.Second

// Register registers the answers to what other nodes ask.
func (f *Follower) Register(r *peer.Registry) {
	peer.Handle(r, askChain, peer.FleetNode, func(_ context.Context, q place) (timeline.Chain, error) {
		before := f.config.Applied.State()
		c, err := f.config.Chains.Chain(q.Reign, q.Position)
		after := f.config.Applied.State() // a copy may have taken the place of the history meanwhile
		if !slices.Contains(before.Reigns, q.Leads) || !slices.Contains(after.Reigns, q.Leads) {
			err = fmt.Errorf("epoch %d of %s is not in the history here", q.Leads.Epoch, q.Leads.Primary)
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", contract.ErrRejected, err)
		}
		return c, err
	})
}

// comparison compares the chains of the history here with those of another, of which a node at address has the log.
type comparison struct {
	follower    *Follower
	here, there timeline.Origin
	reign       timeline.Reign // the last one of both
	address     string
	silent      bool // that node does not answer
}

// fork returns the last position that the history here shares with one of a higher claim, as far as that can be proven:
// in a reign whose primary lost a part of it with its disks, and wrote on, equal positions prove nothing. If nothing is
// proven, that is where their last common reign began. told is false if the node at address, which was asked, did not
// answer: another one, or itself when it is back, may prove more.
func (f *Follower) fork(ctx context.Context, there timeline.Origin, address string) (p timeline.Position, told bool) {
	c := f.compare(there, address)
	_, began, last := timeline.Shared(c.here, there)
	if last == began {
		return last, true
	}
	p = c.part(ctx, c.at(ctx, last), began, last)
	return p, !c.silent
}

// mostSilent is how often a node may tell of a fork, and then not where it is, until that is decided without it.
const mostSilent = 3

// talkative puts nodes that tell of forks, and then not where they are, behind others.
func (s *session) talkative(addresses []string) []string {
	addresses = slices.Clone(addresses)
	slices.SortStableFunc(addresses, func(a, b string) int { return s.silent[a] - s.silent[b] })
	return addresses
}

// forked returns where the histories part, of which a node of the source told; ErrNotReady if it does not say that, and
// it or another one may. What may be missing there is a tail, and all of it: not by one silence. Where each node that
// tells of the fork was silent often enough there is nothing to wait for.
func (f *Follower) forked(ctx context.Context, s *session, told *stream.ForkError) (*succession.Fork, error) {
	there := timeline.Origin{Cursor: told.SourceCursor, Reigns: told.Source}
	p, known := f.fork(ctx, there, told.Address)
	if !known && s.silent[told.Address] < mostSilent {
		s.silent[told.Address]++
		return nil, fmt.Errorf("%w: %s does not say where the histories part: %w", contract.ErrNotReady,
			told.Address, told)
	}
	clear(s.silent)
	return &succession.Fork{Position: p, Source: told.Source}, nil
}

func (f *Follower) compare(there timeline.Origin, address string) *comparison {
	s := f.config.Applied.State()
	c := &comparison{
		follower: f, here: timeline.Origin{Cursor: s.Cursor, Reigns: s.Reigns}, there: there, address: address,
	}
	c.reign, _, _ = timeline.Shared(c.here, there)
	return c
}

// part returns the place up to which the histories are known to be one: last if they agree there.
func (c *comparison) part(
	ctx context.Context, known timeline.Agreement, began, last timeline.Position,
) timeline.Position {
	if known == timeline.Agree {
		return last
	}
	p := timeline.Part(began, last, func(p timeline.Position) timeline.Agreement { return c.at(ctx, p) })
	logger := c.follower.config.Logger.With("epoch", c.reign.Epoch, "primary", c.reign.Primary, "shared", p)
	if known == timeline.Differ {
		logger.Warn("there are two histories of one reign, since disks went back: what this region has and the one "+
			"that it follows has not is a tail", "differ", last)
	} else if !c.silent {
		logger.Info("the logs do not tell whether this region's history is that of the one that it follows up to "+
			"where they seem to part: the tail is what may be missing there", "unknown", last)
	}
	return p
}

// at compares the chains behind a position.
func (c *comparison) at(ctx context.Context, p timeline.Position) timeline.Agreement {
	here, known := c.here.ChainAt(c.reign, p)
	if !known {
		var err error
		if here, err = c.follower.config.Chains.Chain(c.reign, p); err != nil {
			return timeline.Unknown
		}
	}
	there, known := c.there.ChainAt(c.reign, p)
	if !known && !c.ask(ctx, p, &there) {
		return timeline.Unknown
	}
	if here == there {
		return timeline.Agree
	}
	return timeline.Differ
}

// ask asks the other node for its chain, and reports whether it told.
func (c *comparison) ask(ctx context.Context, p timeline.Position, chain *timeline.Chain) bool {
	if c.silent {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, chainTimeout)
	defer cancel()
	q := place{Reign: c.reign, Position: p, Leads: timeline.Latest(c.there.Reigns)}
	got, err := peer.Ask(ctx, c.follower.config.Client, c.address, askChain, q)
	c.silent = err != nil && !answers(err)
	*chain = got
	return err == nil
}

// vouches reports whether the other node has the history there. In a later reign than the last one of both it has, if
// it has that reign: what it does not have it says. In that reign itself there may be two histories, and it has the one
// there if the chains are the same where that ends.
func (c *comparison) vouches(ctx context.Context) bool {
	var chain timeline.Chain
	return timeline.Latest(c.there.Reigns) != c.reign ||
		c.ask(ctx, c.there.Cursor.Position, &chain) && chain == c.there.Cursor.Chain
}

// answers reports whether an error of a question is what the other node, or its version, has to say.
func answers(err error) bool {
	var remote *peer.RemoteError
	return errors.As(err, &remote) || errors.Is(err, transport.ErrNoService) || errors.Is(err, contract.ErrMessage)
}
