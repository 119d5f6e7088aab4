package votes

import (
	"context"

	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Witnesses remembers what witnesses said of their directories. It is safe for concurrent use.
type Witnesses interface {
	// Witness returns what is remembered of a witness, by the ID of the voter.
	Witness(id string) []fleet.Word
	// NoteWitness remembers what a witness said; soon has that outlast this process soon.
	NoteWitness(id string, w fleet.Word, soon bool)
}

// askVoter asks a voter of the charter c something. A witness is told what is remembered of it here, and what it says
// is remembered: if it has forgotten something of that, its directory went back, and it refuses.
func askVoter[In any](
	ctx context.Context, v *Votes, c *timeline.Charter, voter string, q peer.Question[In, answer],
	in func(heard []fleet.Word) In,
) (ballot.Answer, error) {
	var heard []fleet.Word
	witness := (&timeline.Voter{ID: voter}).Witness()
	if witness {
		heard = v.config.Witnesses.Witness(voter)
	}
	a, err := reach(ctx, v, voter, v.addresses(c, voter), q, in(heard))
	if err == nil && witness {
		v.config.Witnesses.NoteWitness(voter, a.Word, any(q) == any(askVote) && a.Granted)
	}
	return a.Answer, err
}

// of is a candidacy of the region of v as it travels to a voter.
func of(v *Votes, c *timeline.Candidacy, voter string) func(heard []fleet.Word) *candidacy {
	var formed map[uint64]string
	if v.config.Formed != nil {
		formed = v.config.Formed()
	}
	return func(heard []fleet.Word) *candidacy { return &candidacy{c, voter, heard, formed} }
}
