package etcdapi

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi/share"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/replication/clock"
)

const (
	// failureRest is how often as long as its hash took a password that was wrong keeps waiting whoever tries the same
	// user from the same address.
	failureRest = 9
	// failureMemory is for how long somebody is remembered after a wrong password, and passMemory after a right one,
	// which allows for passCredit wrong ones before he is anybody again.
	failureMemory, passMemory = time.Minute, time.Hour
	passCredit                = 3
	// mostTriers is how many are remembered of each kind; those beyond share one place. mostOfAddress is how many users
	// are told apart of those that an address was wrong about: a stranger who tries many has no more places than that.
	mostTriers    = 4096
	mostOfAddress = 4
	// mostWaiting is how many logins of one suspect wait.
	mostWaiting = 64
	// failureLogEvery is how often wrong passwords are logged.
	failureLogEvery = 10 * time.Second
)

// passwords bounds what the hashing of passwords costs, which is much, for whoever asks. It is safe for concurrent use.
type passwords struct {
	room     *semaphore.Weighted // hashes at a time
	distrust *semaphore.Weighted // of them those of suspects, one less: others always find room
	clock    clock.Clock
	logger   *slog.Logger
	most     time.Duration // that a suspect rests

	mu        sync.Mutex
	suspects  map[trier]*suspect
	addresses map[string]*address // of suspects
	passes    map[trier]*pass     // who logged in lately
	waiting   map[trier]int       // logins, none that is 0
	logged    time.Time
	unlogged  int
}

// trier is somebody who logs in: a user from an address, or the rest of an address, or of all, with what is left empty.
type trier struct{ address, user string }

// suspect is somebody whose password was wrong.
type suspect struct {
	seen, rests time.Time // the last failure, and until when no other try begins
}

// address is where suspects are.
type address struct {
	seen   time.Time // the last failure
	places int       // in suspects
}

// pass is somebody whose password was right.
type pass struct {
	seen   time.Time
	credit int
}

func newPasswords(c clock.Clock, logger *slog.Logger, mostRest time.Duration) *passwords {
	suspects := int64(max(1, runtime.GOMAXPROCS(0)/4))
	return &passwords{
		room: semaphore.NewWeighted(suspects + 1), distrust: semaphore.NewWeighted(suspects), clock: c, logger: logger,
		most: mostRest, suspects: map[trier]*suspect{}, addresses: map[string]*address{}, passes: map[trier]*pass{},
		waiting: map[trier]int{},
	}
}

// hash runs do, which hashes a password that nobody is let in by.
func (p *passwords) hash(ctx context.Context, do func() error) error {
	if err := p.room.Acquire(ctx, 1); err != nil {
		return err
	}
	defer p.room.Release(1)
	return do()
}

// check runs do, which compares a password of a user, when it is the turn of who tries. wrong says of its error that
// the user or the password was wrong.
func (p *passwords) check(
	ctx context.Context, from, user string, do func() error, wrong func(error) bool,
) error {
	// No user has a longer name, and what is remembered of strangers is not to be as long as they like.
	who := trier{share.Network(from), strings.Clone(user[:min(len(user), auth.MaxNameBytes)])}
	leave, err := p.enter(ctx, who)
	if err != nil {
		return err
	}
	defer leave()
	began := p.clock.Now()
	err = do()
	if err != nil && wrong(err) {
		p.failed(who, p.clock.Now().Sub(began))
	} else {
		p.passed(who, err == nil)
	}
	return err
}

// enter returns with room for a hash, once a suspect has rested. Whoever got in leaves.
func (p *passwords) enter(ctx context.Context, who trier) (leave func(), err error) {
	at, ok := p.queue(who)
	if !ok {
		return nil, status.Error(codes.ResourceExhausted,
			"mimir: too many logins wait at this address, from which wrong passwords came: try again later")
	}
	defer p.dequeue(at)
	for {
		if leave, err = p.acquire(ctx, who); err != nil {
			return nil, err
		}
		rest := p.rest(who)
		if rest <= 0 {
			return leave, nil
		}
		leave()
		timer := p.clock.NewTimer(rest)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// acquire returns with room for a hash.
func (p *passwords) acquire(ctx context.Context, who trier) (release func(), err error) {
	rooms := []*semaphore.Weighted{p.room}
	if p.suspected(who) {
		rooms = []*semaphore.Weighted{p.distrust, p.room}
	}
	for i, room := range rooms {
		if err := room.Acquire(ctx, 1); err != nil {
			leave(rooms[:i])
			return nil, err
		}
	}
	return func() { leave(rooms) }, nil
}

func leave(rooms []*semaphore.Weighted) {
	for _, room := range rooms {
		room.Release(1)
	}
}

// queue counts one more who waits, where he is remembered; false if he is a suspect, and too many wait there.
func (p *passwords) queue(who trier) (at trier, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at = who; !p.trusted(who) {
		at = p.place(who)
	}
	if p.waiting[at] >= mostWaiting && p.suspect(who) != nil {
		return at, false
	}
	p.waiting[at]++
	return at, true
}

func (p *passwords) dequeue(at trier) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[at]--; p.waiting[at] == 0 {
		delete(p.waiting, at)
	}
}

// suspected reports whether somebody may be one who tries passwords: wrong ones came from his address, and no right one
// of his.
func (p *passwords) suspected(who trier) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trusted(who) {
		return false
	}
	from := p.addresses[who.address]
	return p.suspect(who) != nil || from != nil && p.clock.Now().Sub(from.seen) < failureMemory
}

// trusted reports whether somebody logged in lately. The caller holds mu.
func (p *passwords) trusted(who trier) bool {
	one := p.passes[who]
	return one != nil && one.credit > 0 && p.clock.Now().Sub(one.seen) < passMemory
}

// rest returns how long somebody still rests. If he does not, no other try of his begins before this one has ended, or
// as long as he rests at most.
func (p *passwords) rest(who trier) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, now := p.suspect(who), p.clock.Now()
	if s == nil {
		return 0
	}
	if rest := s.rests.Sub(now); rest > 0 {
		return rest
	}
	s.rests = now.Add(p.most)
	return 0
}

// suspect returns what is remembered of somebody, nil if nothing is. The caller holds mu.
func (p *passwords) suspect(who trier) *suspect {
	if p.trusted(who) {
		return nil
	}
	s := p.suspects[p.place(who)]
	if s == nil || p.clock.Now().Sub(s.seen) >= failureMemory {
		return nil
	}
	return s
}

// place is where somebody is remembered who was wrong: beyond what is told apart, with others. The caller holds mu.
func (p *passwords) place(who trier) trier {
	shared := trier{address: who.address}
	switch {
	case p.suspects[who] != nil:
		return who
	case p.addresses[who.address] != nil && p.addresses[who.address].places >= mostOfAddress:
		return shared
	case len(p.suspects) < mostTriers:
		return who
	case p.suspects[shared] != nil:
		return shared
	}
	return trier{}
}

// passed lets the next try of somebody begin at once.
func (p *passwords) passed(who trier, right bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if s := p.suspect(who); s != nil {
		s.rests = now
	}
	if !right {
		return
	}
	if p.passes[who] == nil && len(p.passes) >= mostTriers {
		for other, one := range p.passes {
			if now.Sub(one.seen) >= passMemory {
				delete(p.passes, other)
			}
		}
		if len(p.passes) >= mostTriers {
			return
		}
	}
	p.passes[who] = &pass{now, passCredit}
}

// failed remembers somebody whose password was wrong.
func (p *passwords) failed(who trier, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if p.trusted(who) {
		p.passes[who].credit--
		return
	}
	from := p.addresses[who.address]
	if len(p.suspects) >= mostTriers || from != nil && from.places >= mostOfAddress {
		p.forget(now)
	}
	at := p.place(who)
	s := p.suspects[at]
	if s == nil {
		s = &suspect{}
		p.suspects[at] = s
		if p.addresses[at.address] == nil {
			p.addresses[at.address] = &address{}
		}
		p.addresses[at.address].places++
	}
	p.addresses[at.address].seen = now
	s.seen, s.rests = now, now.Add(min(failureRest*took, p.most))
}

// forget makes room for other suspects. The caller holds mu.
func (p *passwords) forget(now time.Time) {
	for who, s := range p.suspects {
		if now.Sub(s.seen) < failureMemory {
			continue
		}
		delete(p.suspects, who)
		if from := p.addresses[who.address]; from.places == 1 {
			delete(p.addresses, who.address)
		} else {
			from.places--
		}
	}
}

// log tells of a login that failed, or of many at once.
func (p *passwords) log(ctx context.Context, user, from string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if now.Sub(p.logged) < failureLogEvery {
		p.unlogged++
		return
	}
	const mostName = 64 // of a stranger's choice
	p.logger.WarnContext(ctx, "a login failed", "user", user[:min(len(user), mostName)], "from", from,
		"others", p.unlogged, "err", err)
	p.logged, p.unlogged = now, 0
}
