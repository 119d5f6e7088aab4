package rewind

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// idBytes is the length of the name of a state, as that of a copy from elsewhere.
const idBytes = 16

// plan is a state to be made: that at the fork of a region which has diverged, with the reigns of another history that
// begin there.
type plan struct {
	id     string
	state  *timeline.State // of the region, diverged
	fork   timeline.Position
	shared []timeline.Reign // that lead to the fork
	begun  []timeline.Reign // with which the other history goes on there; none: with the last one that is shared
	upTo   uint64           // the log's entries before it led to the region's state
}

// planOf returns the plan for a region in the state s to go to the fork, and take those of the reigns of the history
// that it gave way to that begin there. Error: ErrNotReady if that history does not come to the fork.
func planOf(s *timeline.State, reigns []timeline.Reign, upTo uint64) (*plan, error) {
	if s.Diverged == nil {
		return nil, fmt.Errorf("%w: region %s has not diverged", contract.ErrNotReady, s.Region)
	}
	reigns = timeline.Until(reigns, s.Diverged.Fork) // the later ones come by the stream
	n := 0
	for n < min(len(reigns), len(s.Reigns)) && reigns[n] == s.Reigns[n] {
		n++
	}
	p := &plan{state: s, fork: s.Diverged.Fork, shared: reigns[:n], begun: reigns[n:], upTo: upTo}
	for _, r := range p.begun {
		if r.First != p.fork+1 {
			return nil, fmt.Errorf("%w: epoch %d begins at %d, the fork is at %d", contract.ErrNotReady, r.Epoch,
				r.First, p.fork)
		}
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: of %d reigns %d are shared", contract.ErrNotReady, len(reigns), n)
	}
	var err error
	p.id, err = identify(s, reigns)
	return p, err
}

// identify returns the name of the state (W1): every node of the region, whenever it is asked, gives it the same one.
func identify(s *timeline.State, reigns []timeline.Reign) (string, error) {
	text, err := json.Marshal(struct {
		What   string
		Region string
		At     timeline.Cursor
		Fork   timeline.Divergence
		Reigns []timeline.Reign
	}{"rewind", s.Region, s.Cursor, *s.Diverged, reigns})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:idBytes]), nil
}

// reigns returns those of the state that is made.
func (p *plan) reigns() []timeline.Reign {
	return append(p.shared[:len(p.shared):len(p.shared)], p.begun...)
}

// metadata describes a place on the way, or the end: as the state that the region has then, but for what it says of
// itself, which whoever installs it puts in its place.
func (p *plan) metadata(from *contract.Metadata, at timeline.Cursor) (*contract.Metadata, error) {
	s := &timeline.State{Region: p.state.Region, Cursor: at, Conf: p.state.Conf, Commands: p.state.Commands}
	for _, r := range p.reigns() {
		if r.Epoch <= at.Epoch {
			s.Reigns = append(s.Reigns, r)
		}
	}
	record, err := s.EncodeRecord()
	if err != nil {
		return nil, err
	}
	return &contract.Metadata{
		AppliedIndex: from.AppliedIndex, AppliedTerm: from.AppliedTerm,
		Epoch: at.Epoch, Position: at.Position, Chain: at.Chain, Record: record,
	}, nil
}
