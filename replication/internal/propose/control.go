package propose

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Control takes c to the region's log, in order with the frames, and returns what became of it once it is applied
// here. It gives c a token by which it is known again. Errors: ErrNotLeader, then nothing was and will be written;
// ErrUnknownOutcome; what ended the node.
func (p *Proposer) Control(ctx context.Context, c *timeline.Control) (region.Outcome, error) {
	c.Token = token()
	payload, err := timeline.EncodeControl(c)
	if err != nil {
		return region.Outcome{}, err
	}
	closes := c.Op != timeline.OpSlots && c.Op != timeline.OpMember && c.Op != timeline.OpCeiling &&
		c.Op != timeline.OpDelay && c.Op != timeline.OpCount && c.Op != timeline.OpRoster
	return p.pipeline.request(ctx, &request{payload: payload, closes: closes, token: c.Token})
}

// Begin takes the beginning of the epoch r at this node's applied place to the region's log, and returns the reign
// once it is applied. It fills in First, Previous and Nonce. Errors: as of Control, and ErrRejected with the reason if
// the history does not take it there.
func (p *Proposer) Begin(ctx context.Context, r timeline.Reign) (*timeline.Reign, error) {
	at := p.config.Applied.State().Cursor
	r.First, r.Previous, r.Nonce = at.Position+1, at.Chain, nonce()
	a, err := p.pipeline.request(ctx, &request{payload: timeline.AppendReign(nil, r), closes: true, reign: &r})
	if err != nil {
		return nil, fmt.Errorf("begin epoch %d: %w", r.Epoch, err)
	}
	if a.Outcome != timeline.Applied {
		return nil, fmt.Errorf("begin epoch %d: %w: %s", r.Epoch, contract.ErrRejected, a.Why)
	}
	return &r, nil
}

// nonce returns fresh randomness: it tells proposals apart and decides nothing.
func nonce() (b [16]byte) {
	_, _ = rand.Read(b[:]) // never fails
	return b
}

func token() uint64 {
	b := nonce()
	return binary.LittleEndian.Uint64(b[:]) | 1
}
