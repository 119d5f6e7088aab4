package transfer

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
)

// AskGiver asks a node of a region whether another one, which gave a copy of the region's state, is known by now to
// hold something else than the region. A node of a version before does not know the question.
const AskGiver = peer.Question[Giver, Fitness]("giver")

// Giver names who gave a copy, and the region that asks.
type Giver struct {
	Region string `json:"region"`
	Node   uint64 `json:"node"` // its Raft identity
}

// Fitness says what is known of a giver.
type Fitness struct {
	Differs bool `json:"differs,omitempty"`
}

// differs is the answer to AskGiver.
func (s *Shelf) differs(ctx context.Context, g Giver) (Fitness, error) {
	if err := peer.MaySpeak(ctx, g.Region); err != nil {
		return Fitness{}, err
	}
	return Fitness{Differs: s.config.Differs != nil && s.config.Differs(g.Node)}, nil
}

// GiverOf returns who gave a copy that is staged here; zero: it is not said, or there is no such copy.
func (s *Staging) GiverOf(id string) uint64 {
	if checkID(id) != nil {
		return 0
	}
	m, err := checkpoint.Load(s.config.FS, s.dir(id))
	if err != nil {
		return 0
	}
	_, d, err := described(m)
	if err != nil {
		return 0
	}
	return d.Node
}
