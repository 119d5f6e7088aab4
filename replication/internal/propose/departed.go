package propose

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// leftVersion begins a message that names proposals whose callers have left: their numbers, then the CRC-32C of these.
// Only Service has it.
const leftVersion byte = 4

func encodeLeft(ids []uint64) []byte {
	b := append(make([]byte, 0, 1+8*len(ids)+4), leftVersion)
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint64(b, id)
	}
	return binary.LittleEndian.AppendUint32(b, checksum.Of(b[1:]))
}

// readLeft calls visit for each proposal that a message of leftVersion names.
func readLeft(message []byte, visit func(id uint64)) error {
	n := len(message) - 1 - 4
	if n < 0 || n%8 != 0 {
		return fmt.Errorf("%w: %d bytes of proposals that were given up", contract.ErrMessage, len(message))
	}
	if _, err := checkSum(message[1:], message[1+n:]); err != nil {
		return err
	}
	for b := message[1 : 1+n]; len(b) > 0; b = b[8:] {
		visit(binary.LittleEndian.Uint64(b))
	}
	return nil
}

// way is how a proposal was sent to the leader.
type way struct {
	link *link
	id   uint64
}

// tellLeft tells the leader to whom u was sent that its caller has left.
func (u *proposal) tellLeft() {
	if w := u.way.Load(); w != nil {
		w.link.leave(w.id)
	}
}

// leave has the other side told that nobody waits for a proposal any more. A node of before would not understand it.
func (l *link) leave(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || l.pending[id] == nil || l.service != Service {
		return
	}
	l.leaving = append(l.leaving, id)
	l.wake.Nudge()
}

const (
	strandedEvery = 500 * time.Millisecond
	// strandedAfter is for how long writes go elsewhere, and this node answers none, before the link is given up. A
	// leader that hands over answers what it had.
	strandedAfter = 2 * time.Second
)

var (
	errStranded  = errors.New("another node takes the writes, and this one answers no more")
	errElsewhere = errors.New("another node takes the writes, and this one was not reached yet")
)

// watch gives the link up when the node at its end leads no more and says nothing: it is cut off from the others, or
// stands still, and can tell nobody what became of what it has. It returns why it ends, never nil.
func (l *link) watch(ctx context.Context) error {
	clock := l.owner.clock
	timer := clock.NewTimer(strandedEvery)
	defer timer.Stop()
	since, before := clock.Now(), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C():
			timer.Reset(strandedEvery)
		}
		waiting, answered := l.progress()
		if !l.elsewhere() || !waiting || answered != before {
			since, before = clock.Now(), answered
		} else if clock.Now().Sub(since) >= strandedAfter {
			return errStranded
		}
	}
}

// elsewhere reports whether writes are known to go to another node than that at the end of the link.
func (l *link) elsewhere() bool {
	to := l.owner.standing.Route()
	return to.Local || to.Addr != "" && to.Addr != l.addr
}

// progress returns whether something was sent and not answered, and how much was answered so far.
func (l *link) progress() (waiting bool, answered uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending) > 0, l.next - uint64(len(l.pending))
}

// open notes a proposal, which is not answered yet.
func (a *answers) open(id uint64, u *proposal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unanswered == nil {
		a.unanswered = map[uint64]*proposal{}
	}
	a.unanswered[id] = u
}

// leave says that nobody waits for a proposal any more.
func (a *answers) leave(id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.unanswered[id]; u != nil {
		u.abandoned.Store(true)
	}
}
