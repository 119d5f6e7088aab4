package lease

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
)

const (
	// maxExpiring bounds the revocations under way at a time.
	maxExpiring = 64
	// expireTime bounds one of them: what hangs keeps no other lease from its end.
	expireTime = 10 * time.Second
	// expireRetry is how long after a failed revocation it is tried again.
	expireRetry = time.Second
	// pulse is how often the lessor looks at the clock while it has leases. What it is later than that, this process
	// stood still.
	pulse = 500 * time.Millisecond
	// orderPart is of how many leases Order looks at the deadlines at once.
	orderPart = 4096
)

// Expire proposes the revocation of a lease that nobody renewed, which was decided in the tenure t and is void in any
// other. It returns once that is applied, or an error if that is not known. ctx ends also when the lease is gone or was
// granted anew: what is proposed from then on would be about another one.
type Expire func(ctx context.Context, t contract.Tenure, leaseID int64) error

// ErrNotLessor says that leases are not kept alive on this node; ask the leader of the primary region.
var ErrNotLessor = errors.New("kv: leases are not kept alive on this node")

// Lessor keeps leases alive on the one node where that is its task, the leader of the primary region, and asks for the
// revocation of those that nobody renewed. It holds nothing but deadlines, in memory and on the injected clock: every
// lease gets its full time to live at Promote, so that none expires early because the primary moved (invariant 12), but
// for those whose end has begun: that goes on. The time for which this process stood still counts for no lease: who
// renewed it then could not be heard. Every decision carries the tenure in which it was made. It is safe for concurrent
// use.
type Lessor struct {
	leases Leases
	clock  clock.Clock
	expire Expire

	mu       sync.Mutex
	promoted bool
	paused   bool // no lease is due: see Table.Hold
	tenure   contract.Tenure
	reign    int // counts promotions, so that what an earlier one began is recognised
	items    map[int64]*leaseItem
	due      leaseHeap // not those that are expiring
	expiring int
	wake     chan struct{}
	closed   bool
	// looked is when it was looked last for what is due, and meant for how long that was to do. Zero: nothing waited,
	// and since then nothing does.
	looked time.Time
	meant  time.Duration

	ctx    context.Context // of the current promotion
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Leases is where a Lessor learns which leases there are. A [Table] is one, and so is whatever passes its observer on
// to one.
type Leases interface {
	// ObserveLeases makes o the one observer, nil for none, and tells it of all leases before it returns, and of each
	// change from then on.
	ObserveLeases(o Observer)
}

// NewLessor returns a Lessor that is not promoted. expire is called again when it has failed. Close stops the lessor.
func NewLessor(leases Leases, c clock.Clock, expire Expire) *Lessor {
	l := &Lessor{leases: leases, clock: c, expire: expire, items: map[int64]*leaseItem{}, wake: make(chan struct{}, 1)}
	leases.ObserveLeases(l)
	l.done.Go(l.loop)
	return l
}

// Promote begins to keep leases in the tenure t: each gets its full time to live from now. It does not block. A lessor
// that is promoted stays in its tenure: it is demoted first.
func (l *Lessor) Promote(t contract.Tenure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.promoted || l.closed {
		return
	}
	l.promoted, l.tenure = true, t
	l.reign++
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.refresh()
}

// Demote ends the keeping of leases, and with it attempts to revoke that are under way. It does not block.
func (l *Lessor) Demote() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.demote()
}

func (l *Lessor) demote() {
	if l.promoted {
		l.promoted = false
		l.cancel()
		l.due = nil
	}
}

// Close demotes, and returns when nothing of the lessor runs any more.
func (l *Lessor) Close() {
	l.leases.ObserveLeases(nil)
	l.mu.Lock()
	l.demote()
	l.closed = true
	l.mu.Unlock()
	l.signal()
	l.done.Wait()
}

// Renew gives a lease its full time to live again, and returns it in seconds. Errors: ErrNotLessor,
// command.ErrLeaseNotFound, which also meets a lease whose revocation has been asked for. One that is only due is
// renewed.
func (l *Lessor) Renew(id int64) (ttl int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, err := l.find(id)
	if err != nil {
		return 0, err
	}
	if it.place < 0 || it.failed || it.ending {
		return 0, command.ErrLeaseNotFound
	}
	it.deadline = deadline(l.clock.Now(), it.ttl)
	heap.Fix(&l.due, it.place)
	return it.ttl, nil
}

// TimeToLive returns what is left of a lease and what was granted, in seconds. What is left is -1 if the end of the
// lease has begun, as the content says, and 0 if it is due: also where its revocation was asked for, which may still
// not come about, and then it lives on. Errors: ErrNotLessor, command.ErrLeaseNotFound.
func (l *Lessor) TimeToLive(id int64) (remaining, granted int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it, err := l.find(id)
	if err != nil {
		return 0, 0, err
	}
	switch {
	case it.ending:
		return -1, it.ttl, nil
	case l.paused:
		return it.ttl, it.ttl, nil
	case it.place < 0 || it.failed:
		return 0, it.ttl, nil
	}
	return int64(max(it.deadline.Sub(l.clock.Now()), 0) / time.Second), it.ttl, nil
}

// Order brings leases into the order in which they expire. A lessor that keeps none leaves them as they are. However
// many they are, who renews, and who applies, waits for no more than a part of them to be looked at.
func (l *Lessor) Order(leases []Lease) {
	type ending struct {
		Lease
		at time.Time
	}
	ends := make([]ending, 0, len(leases))
	for part := range slices.Chunk(leases, orderPart) {
		promoted := l.ends(part, func(one Lease, at time.Time) { ends = append(ends, ending{one, at}) })
		if !promoted {
			return
		}
	}
	slices.SortStableFunc(ends, func(a, b ending) int { return a.at.Compare(b.at) })
	for i := range ends {
		leases[i] = ends[i].Lease
	}
}

// ends calls each with every lease and when that expires, and reports whether the lessor is promoted; else it calls
// nothing.
func (l *Lessor) ends(leases []Lease, each func(one Lease, at time.Time)) (promoted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.promoted {
		return false
	}
	now := l.clock.Now()
	for _, one := range leases {
		at := deadline(now, one.TTL) // it was revoked a moment ago
		if it := l.items[one.ID]; it != nil {
			at = it.deadline
		}
		each(one, at)
	}
	return true
}

func (l *Lessor) find(id int64) (*leaseItem, error) {
	if !l.promoted {
		return nil, ErrNotLessor
	}
	it := l.items[id]
	if it == nil {
		return nil, command.ErrLeaseNotFound
	}
	return it, nil
}

// valid checks that the heap is what is waiting of the leases, and L2. l.mu is held.
func (l *Lessor) valid() error {
	if l.expiring < 0 || l.expiring > maxExpiring {
		return fmt.Errorf("%d revocations are under way", l.expiring)
	}
	if !l.promoted {
		if len(l.due) != 0 {
			return fmt.Errorf("%d leases wait for a deadline at one that is not promoted", len(l.due))
		}
		return nil
	}
	for place, it := range l.due {
		if it.place != place || l.items[it.id] != it {
			return fmt.Errorf("lease %d, at place %d of the heap, is one at %d", it.id, place, it.place)
		}
		if above := l.due[max(0, place-1)/2]; it.deadline.Before(above.deadline) {
			return fmt.Errorf("lease %d at place %d of the heap is due before the one above it", it.id, place)
		}
	}
	waiting := 0
	for id, it := range l.items {
		if it.id != id {
			return fmt.Errorf("lease %d stands under %d", it.id, id)
		}
		if it.place >= 0 {
			waiting++
		}
	}
	if waiting != len(l.due) {
		return fmt.Errorf("%d leases wait for a deadline, %d are in the heap", waiting, len(l.due))
	}
	return nil
}

// deadline returns when a lease renewed now expires. Times to live beyond what a Duration holds are cut.
func deadline(now time.Time, ttl int64) time.Time {
	const most = int64(1<<63-1) / int64(time.Second)
	return now.Add(time.Duration(min(ttl, most)) * time.Second)
}

// refresh gives every lease its full time to live, but those whose end has begun. l.mu is held.
func (l *Lessor) refresh() {
	now := l.clock.Now()
	l.due = l.due[:0]
	for _, it := range l.items {
		it.deadline, it.failed, it.place = deadline(now, it.ttl), false, len(l.due)
		if it.ending {
			it.deadline = now
		}
		l.due = append(l.due, it)
	}
	heap.Init(&l.due)
	l.waits(now)
}

func (l *Lessor) granted(id, ttl int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.items[id]; old != nil && l.promoted && old.place >= 0 {
		heap.Remove(&l.due, old.place)
	}
	l.abandon(id)
	it := &leaseItem{id: id, ttl: ttl, place: -1}
	l.items[id] = it
	if l.promoted {
		now := l.clock.Now()
		it.deadline = deadline(now, ttl)
		heap.Push(&l.due, it)
		l.waits(now)
	}
}

func (l *Lessor) ending(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it := l.items[id]
	if it == nil {
		return
	}
	it.ending = true
	if l.promoted && it.place >= 0 && !it.failed { // somebody else began it
		now := l.clock.Now()
		it.deadline = now
		heap.Fix(&l.due, it.place)
		l.waits(now)
	}
}

func (l *Lessor) revoked(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if it := l.items[id]; it != nil {
		l.abandon(id)
		delete(l.items, id)
		if l.promoted && it.place >= 0 {
			heap.Remove(&l.due, it.place)
		}
	}
}

func (l *Lessor) replaced(all Set) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.items {
		l.abandon(id)
	}
	l.items = make(map[int64]*leaseItem, len(all))
	for id, terms := range all {
		l.items[id] = &leaseItem{id: id, ttl: terms.TTL, ending: terms.Ending, place: -1}
	}
	if l.promoted {
		l.refresh()
	}
}

// abandon ends the attempt to revoke a lease that is gone or is another one now: what it would do next is not meant for
// that. l.mu is held.
func (l *Lessor) abandon(id int64) {
	if it := l.items[id]; it != nil && it.cancel != nil {
		it.cancel()
	}
}

func (l *Lessor) held(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.paused; was == on {
		return
	}
	if l.paused = on; !l.promoted {
		return
	}
	for id := range l.items {
		if on {
			l.abandon(id) // what it has not proposed yet it does not propose
		}
	}
	l.refresh()
}

// waits has the loop look at what waits since now. From then on it counts if this process stands still. l.mu is held.
func (l *Lessor) waits(now time.Time) {
	if l.looked.IsZero() {
		l.looked, l.meant = now, 0
	}
	l.signal()
}

func (l *Lessor) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// loop begins the revocation of leases that are due.
func (l *Lessor) loop() {
	for {
		wait, closed := l.expireDue()
		if closed {
			return
		}
		if wait == 0 {
			<-l.wake
			continue
		}
		timer := l.clock.NewTimer(wait)
		select {
		case <-timer.C():
		case <-l.wake:
		}
		timer.Stop()
	}
}

// expireDue begins revocations, and returns how long it is until it is to be called again: 0 if no lease waits. Between
// one reading of the clock and the next nothing is left out: wherever this process stood still, and where it waited for
// the mutex, that is noticed before anything counts as due.
func (l *Lessor) expireDue() (wait time.Duration, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, true
	}
	now := l.clock.Now()
	if late := now.Sub(l.looked) - l.meant; late > pulse && !l.looked.IsZero() {
		l.extend(now, late)
	}
	wait = min(l.begin(now), pulse)
	if l.looked, l.meant = now, wait; wait == 0 {
		l.looked = time.Time{}
	}
	return wait, false
}

// extend gives every lease that waits for its deadline the time for which this process stood still, as far as that does
// not leave it more than its full time to live: but for those whose end waits only to be tried again. l.mu is held.
func (l *Lessor) extend(now time.Time, late time.Duration) {
	for _, it := range l.due {
		if it.ending || it.failed {
			continue
		}
		it.deadline = it.deadline.Add(late)
		if full := deadline(now, it.ttl); full.Before(it.deadline) {
			it.deadline = full
		}
	}
	heap.Init(&l.due)
}

// begin begins the revocation of what is due, and returns how long it is until the next lease is: 0 if none waits. l.mu
// is held.
func (l *Lessor) begin(now time.Time) (wait time.Duration) {
	for l.promoted && !l.paused && len(l.due) > 0 && l.expiring < maxExpiring {
		first := l.due[0]
		if left := first.deadline.Sub(now); left > 0 {
			return left
		}
		heap.Pop(&l.due)
		l.expiring++
		reign, tenure := l.reign, l.tenure
		ctx, cancel := context.WithTimeout(l.ctx, expireTime)
		first.cancel = cancel
		l.done.Go(func() {
			defer cancel()
			l.finish(first, reign, l.expire(ctx, tenure, first.id))
		})
	}
	if l.promoted && !l.paused && len(l.due) > 0 {
		return pulse // too many at a time
	}
	return 0
}

// finish settles an attempt to revoke. A lease that is still there is tried again.
func (l *Lessor) finish(it *leaseItem, reign int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expiring--
	if err != nil && l.promoted && l.reign == reign && l.items[it.id] == it && it.place < 0 {
		now := l.clock.Now()
		it.failed = true
		it.deadline = now.Add(expireRetry)
		heap.Push(&l.due, it)
		l.waits(now)
	}
	l.signal()
}
