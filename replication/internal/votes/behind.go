package votes

import (
	"context"
	"errors"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// writeBehind writes a charter by whose voters what was acknowledged without loss is not counted as by those before: a
// majority of them may have none of it. So the charter says up to where was acknowledged, and they judge a candidate by
// that: nothing above it is acknowledged before the charter is written (V8).
func writeBehind(ctx context.Context, v *Votes, c *timeline.Charter) error {
	c.Under = timeline.Under{Epoch: c.Epoch, Position: c.Under.In(c.Epoch)}
	if err := v.understood(ctx, c); errors.Is(err, contract.ErrOldNode) {
		return err // who does not answer, and may be the reason of all this, is not waited for
	}
	term, _ := v.config.Leadership.Term()
	before, ok := Orders{v}.ends(ending{term: term, by: c.Mark(), writing: true})
	if !ok {
		return fmt.Errorf("%w: another charter is about to be written", contract.ErrNotReady)
	}
	v.hold(nil)
	if now, leads := v.config.Leadership.Term(); !leads || now != term { // nothing was held back
		v.mu.Lock()
		v.ending = before
		v.mu.Unlock()
		return fmt.Errorf("%w: another leader's time began", contract.ErrNotLeader)
	}
	reached := v.config.Writes.Reached()
	c.Under.Position = max(c.Under.Position, reached, v.config.Applied.State().Cursor.Position)
	err := agree(ctx, v, c)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ending.writing = false; err != nil && !errors.Is(err, contract.ErrUnknownOutcome) {
		v.ending = before // of which nothing may be known yet
	}
	return err
}

// decide has the region agree on a charter, with nothing new, behind one of which it is not known whether it comes:
// either one takes the other's place, and until then nothing more is acknowledged.
func (v upkeep) decide() {
	c := v.config.Applied.State().Charter()
	term, _ := v.config.Leadership.Term()
	v.mu.Lock()
	open := c != nil && c.Hold == nil && v.ending.of(term, c) && !v.ending.writing
	v.mu.Unlock()
	if !open {
		return
	}
	if next, err := v.next(); err == nil {
		v.alone(func(ctx context.Context) error { return agree(ctx, v.Votes, next) })
	}
}
