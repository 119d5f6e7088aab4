package raftgroup

import "fmt"

// stayElections is how many election timeouts a node takes part on that was removed: the others may not know yet that
// the change is committed, and need its vote until they do. Whoever of them says before that it was removed ends it at
// once.
const stayElections = 20

// leaving counts the ticks since this node was removed.
type leaving struct{ ticks int }

// tick returns ErrRemoved when it is time to end. What is known to be committed and not applied may let the node in
// again: earlier versions allowed that.
func (l *leaving) tick(v *view, self uint64, electionTicks int) error {
	applied := v.applied.Load()
	if !gone(v.conf.Load(), self) || applied < v.commit.Load() {
		l.ticks = 0
		return nil
	}
	if l.ticks++; l.ticks <= stayElections*electionTicks {
		return nil
	}
	return fmt.Errorf("%w: as of entry %d", ErrRemoved, applied)
}
