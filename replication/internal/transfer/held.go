package transfer

import (
	"encoding/hex"
	"encoding/json"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// AskHeld has a node of the own region say which complete copies it has that fit: a leader before had them fetched,
// and did not come to install one. Those of which it says so it keeps for the leader that asks.
const AskHeld = peer.Question[Wanted, []Held]("held")

// Wanted says which copies fit: of Region, of a history with the epoch MinEpoch, and further than After.
type Wanted struct {
	Region   string            `json:"region"`
	MinEpoch timeline.Epoch    `json:"minEpoch,omitempty"`
	After    contract.Position `json:"after,omitempty"`
	Term     uint64            `json:"term"` // that the asking node leads
}

// Held is a copy that a node has, complete.
type Held struct {
	ID          string      `json:"id"`
	Description Description `json:"description"`
}

func (w *Wanted) fits(d *Description) bool {
	c := d.Origin.Cursor
	return d.Region == w.Region && c.Epoch >= w.MinEpoch && c.Position > w.After
}

// Held returns the copies here that fit, which stay for the leader of the term.
func (s *Staging) Held(w Wanted) []Held {
	names, err := s.config.FS.List(s.config.Dir)
	if err != nil {
		return nil // nothing was staged yet
	}
	var held []Held
	for _, id := range names {
		if !isID(id) {
			continue
		}
		m, err := checkpoint.Load(s.config.FS, s.dir(id))
		h := Held{ID: id}
		if err != nil || hex.EncodeToString(m.ID[:]) != id || json.Unmarshal(m.Meta, &h.Description) != nil {
			continue
		}
		if w.fits(&h.Description) {
			s.Keep(id, w.Term)
			held = append(held, h)
		}
	}
	return held
}
