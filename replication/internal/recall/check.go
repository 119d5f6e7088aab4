package recall

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
)

// Question is about the node that asks. It travels as JSON: never change a name.
type Question struct {
	ID   uint64 `json:"id"` // its Raft identity
	Disk string `json:"disk"`
	Boot string `json:"boot"`
}

// Answer is what the asked node knows of the one that asks.
type Answer struct {
	Node string `json:"node"` // that answers
	Seen Seen   `json:"seen"` // of the disk, by earlier processes
	// Match is the last entry that the asking node acknowledged to this one, its leader; zero: this one does not lead.
	Match uint64 `json:"match,omitempty"`
}

// ask asks what a node remembers of this one. The name is on the wire.
const ask = peer.Question[Question, Answer]("recall")

// Register makes the node of this name answer from m, and from what its region's members acknowledged to it.
func Register(to *peer.Registry, node string, m *Memory, match func(id uint64) uint64) {
	peer.Handle(to, ask, func(_ context.Context, q Question) (Answer, error) {
		return Answer{Node: node, Seen: m.Before(q.ID, Disk{ID: q.Disk, Boot: q.Boot}), Match: match(q.ID)}, nil
	})
}

// Config is what a Check needs.
type Config struct {
	ID        uint64 // Raft identity of this node
	Node      string // its name
	Disk      Disk
	Last      uint64 // the last entry on its disk, when it started
	Addresses []string
	Timeout   time.Duration // of one question
	Clock     clock.Clock
	Client    *peer.Client
}

// again is the pause before those that did not answer are asked anew.
const again = time.Second

// Check asks the others what they remember of this node. It is used by one goroutine at a time.
type Check struct {
	config Config
	left   []string // addresses without an answer
	serves bool     // what the leader has from this node may be of this process
}

// NewCheck returns a Check that has asked nobody.
func NewCheck(c Config) *Check { return &Check{config: c, left: c.Addresses} }

// Ask asks everybody who has not answered, all at once, before this node serves. Its error is ErrDiskLost if one of
// them knows that the disk went back; that somebody does not answer is none.
func (c *Check) Ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	errs := make([]error, len(c.left))
	silent := make([]bool, len(c.left))
	var wg sync.WaitGroup
	for i, addr := range c.left {
		wg.Go(func() {
			a, err := peer.Ask(ctx, c.config.Client, addr, ask,
				Question{c.config.ID, c.config.Disk.ID, c.config.Disk.Boot})
			var remote *peer.RemoteError
			switch {
			case err == nil:
				errs[i] = c.judge(a)
			case !errors.As(err, &remote), peer.Elsewhere(err):
				silent[i] = true
			} // else it knows the question not: an earlier version
		})
	}
	wg.Wait()
	var left []string
	for i, addr := range c.left {
		if silent[i] {
			left = append(left, addr)
		}
	}
	c.left = left
	return first(errs)
}

// first returns one of the errors, nil if there is none: each says all that an operator needs, in one line.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Run asks on, while this node serves, until everybody has answered or ctx ends, and returns as Ask does.
func (c *Check) Run(ctx context.Context) error {
	c.serves = true
	timer := c.config.Clock.NewTimer(again)
	defer timer.Stop()
	for len(c.left) > 0 {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C():
		}
		if err := c.Ask(ctx); err != nil {
			return err
		}
		timer.Reset(again)
	}
	return nil
}

// judge compares what another node remembers with what this one had when it started.
func (c *Check) judge(a Answer) error {
	const way = "this data directory is an older copy, or lost what it held; remove the member and add it again " +
		"under " +
		"a new name"
	o := &c.config
	switch {
	case !c.serves && a.Match > o.Last:
		return fmt.Errorf("%w: %s acknowledged entry %d of its region's log to %s, and holds %d: %s",
			contract.ErrDiskLost, o.Node, a.Match, a.Node, o.Last, way)
	case a.Seen.Index > o.Last:
		return fmt.Errorf("%w: %s has heard that %s holds entry %d of its region's log, and it holds %d: %s",
			contract.ErrDiskLost, a.Node, o.Node, a.Seen.Index, o.Last, way)
	case a.Seen.Starts >= o.Disk.Starts:
		return fmt.Errorf("%w: %s has heard of start %d of %s, and this is start %d: %s",
			contract.ErrDiskLost, a.Node, a.Seen.Starts, o.Node, o.Disk.Starts, way)
	default:
		return nil
	}
}
