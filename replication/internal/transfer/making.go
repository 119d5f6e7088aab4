package transfer

import (
	"context"
	"encoding/json"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
)

// AskMaking has a node say how far it is with the copy that it makes for a region. Asking twice is safe. A node of a
// version before does not know it.
const AskMaking = peer.Question[MakingFor, Making]("making")

// MakingFor names the region that asks.
type MakingFor struct {
	Region string `json:"region"`
}

// Making is how far a copy is that is being made: what was gone through, to write and to sum it, of what has to be.
// Zero: none is made for who asks, or it is not known yet how large it becomes.
type Making struct {
	Done  int64 `json:"done,omitempty"`
	Total int64 `json:"total,omitempty"`
}

// making is the copy that is being made.
type making struct {
	region string
	began  int64 // what had been gone through before
	total  int64
}

// Register registers the answer to what other nodes ask.
func (s *Shelf) Register(r *peer.Registry) {
	peer.Handle(r, AskMaking, peer.FleetNode, func(ctx context.Context, q MakingFor) (Making, error) {
		if err := peer.MaySpeak(ctx, q.Region); err != nil {
			return Making{}, err
		}
		return s.Making(q.Region), nil
	})
	peer.Handle(r, AskGiver, peer.FleetNode, s.differs)
}

// Making tells how far the copy is that is made for a region.
func (s *Shelf) Making(region string) Making {
	s.mu.Lock()
	m := s.now
	s.mu.Unlock()
	if m.region != region || m.total == 0 {
		return Making{}
	}
	return Making{Done: min(s.gone()-m.began, m.total), Total: m.total}
}

// describe sums a copy, and says what it is.
func (s *Shelf) describe(
	ctx context.Context, dir string, id [idBytes]byte, held *region.Held,
) (*checkpoint.Manifest, error) {
	d := Description{
		Region: s.config.Region, Index: held.Metadata().AppliedIndex, Origin: held.Origin, Node: s.config.Self,
	}
	if s.config.Formed != nil {
		d.Formed = s.config.Formed()
	}
	encoded, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	if s.doubted.Swap(false) {
		s.sums.Forget()
	}
	return s.sums.Describe(ctx, s.config.FS, dir, id, encoded, s.through)
}

// makes notes what is being made, and how large it becomes once that is known. An empty region: nothing.
func (s *Shelf) makes(region string, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if region != s.now.region {
		s.now = making{region: region, began: s.gone()}
	}
	s.now.total = total
}
