package propose

import (
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

// held is a proposal that is applied and not acknowledged, or what a read saw and may not tell: the lease, or the
// ceiling, did not allow it.
type held struct {
	proposal *proposal
	receipt  *contract.Receipt
	until    time.Time
}

// maxHold is how long a result waits for its lease. A caller has his own deadline beside that.
const maxHold = 10 * time.Second

// holds reports whether a write waits.
func (p *pipeline) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held) > 0
}

func (p *pipeline) hold(u *proposal, r *contract.Receipt) {
	u.trace.on(contract.PartLease)
	p.mu.Lock()
	h := held{u, r, p.clock.Now().Add(maxHold)}
	if u.apart {
		p.seen = append(p.seen, h)
	} else {
		p.held = append(p.held, h)
	}
	p.mu.Unlock()
	if u.apart {
		p.letGo(h) // it may have become admissible, for somebody who did not see it held
		return
	}
	p.release() // likewise, for somebody who saw nothing held
}

// release acknowledges what may be acknowledged by now: writes in order, and what was read by where it lies, since it
// may lie behind writes that are told later.
func (p *pipeline) release() {
	for {
		p.mu.Lock()
		if len(p.held) == 0 {
			break
		}
		h := p.held[0]
		p.mu.Unlock()
		if !p.letGo(h) {
			p.mu.Lock()
			break
		}
	}
	seen := slices.Clone(p.seen)
	p.mu.Unlock()
	for _, h := range seen {
		p.letGo(h)
	}
}

// letGo acknowledges what is held if that may be by now. What cannot be any more, because this node does not lead,
// another epoch has begun, or it took too long, has an unknown outcome: it is written, and may be in a tail; unless the
// region that reigns is known to have it. It reports whether it is held no more.
func (p *pipeline) letGo(h held) bool {
	regions, admitted := p.standing.Admits(h.receipt.Epoch, h.receipt.Position)
	deposed := p.standing.Deposed(h.receipt.Epoch)
	p.mu.Lock()
	over := p.term == 0 || deposed || !p.clock.Now().Before(h.until)
	taken := (admitted || over) && p.takeHeld(h.proposal)
	p.mu.Unlock()
	switch {
	case taken && admitted:
		p.acknowledge(h.proposal, h.receipt, regions)
	case taken && !h.proposal.read && p.standing.Inherited(h.receipt.Epoch, h.receipt.Position):
		h.proposal.finish(unlessCut(p.standing, result{
			receipt: h.receipt, final: true,
			err: fmt.Errorf("%w: position %d of epoch %d went over to another primary before the lease of this one "+
				"allowed to acknowledge it", contract.ErrUnderReplicated, h.receipt.Position, h.receipt.Epoch),
		}))
	case taken:
		h.proposal.finish(result{err: fmt.Errorf("%w: position %d was written in epoch %d, whose primary has no "+
			"lease; it may be in a tail", contract.ErrUnknownOutcome, h.receipt.Position, h.receipt.Epoch)})
	}
	return admitted || over
}

// takeHeld takes out what is held of u, a write only if it is the first. The caller holds mu.
func (p *pipeline) takeHeld(u *proposal) bool {
	if !u.apart {
		first := len(p.held) > 0 && p.held[0].proposal == u
		if first {
			p.held = p.held[1:]
		}
		return first
	}
	i := slices.IndexFunc(p.seen, func(h held) bool { return h.proposal == u })
	if i >= 0 {
		p.seen = slices.Delete(p.seen, i, i+1)
	}
	return i >= 0
}

// unlessCut returns a result that came late, or that nobody knows what became of it, if a later reign is known to have
// begun before it: what was done when it was sent is in a tail by now (invariant 7).
func unlessCut(s Standing, r result) result {
	if r.receipt == nil {
		return r
	}
	by, cut := s.Cut(r.receipt.Epoch, r.receipt.Position)
	if !cut {
		return r
	}
	return result{err: fmt.Errorf("%w: position %d was written in epoch %d, and epoch %d of %s has begun after "+
		"position %d meanwhile; it may be in a tail", contract.ErrUnknownOutcome, r.receipt.Position,
		r.receipt.Epoch, by.Epoch, by.Primary, by.First-1)}
}

// stalled reports whether something was proposed so long ago, a frame or a request, and neither it nor anything before
// it was applied since. A request counts alone: behind one that closes the pipeline there are no frames.
func (p *pipeline) stalled(longer time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var since time.Time // of the first; zero: nothing is on its way
	if len(p.flights) > 0 {
		since = p.flights[0].at
	}
	for _, r := range p.requests {
		if r.term != 0 && (since.IsZero() || r.at.Before(since)) {
			since = r.at
		}
	}
	if since.IsZero() {
		return false
	}
	if p.landed.After(since) {
		since = p.landed
	}
	return p.clock.Now().Sub(since) > longer
}
