package etcdapi

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock"
)

const (
	// failureRest is how often as long as its hash took a password that was wrong keeps its address waiting: a stranger
	// who tries passwords has a tenth of a processor.
	failureRest = 9
	// failureMemory is for how long an address is remembered after a wrong password.
	failureMemory = time.Minute
	// mostSuspects is how many addresses are remembered; those beyond share one place.
	mostSuspects = 4096
	// mostWaiting is how many logins of one suspect wait.
	mostWaiting = 64
	// failureLogEvery is how often wrong passwords are logged.
	failureLogEvery = 10 * time.Second
)

// passwords bounds what the hashing of passwords costs, which is much, for whoever asks. It is safe for concurrent use.
type passwords struct {
	room   *semaphore.Weighted // hashes at a time
	clock  clock.Clock
	logger *slog.Logger
	most   time.Duration // that an address rests

	mu       sync.Mutex
	suspects map[string]*suspect
	waiting  map[string]int // logins, by address, none that is 0
	logged   time.Time
	unlogged int
}

// suspect is an address from which a wrong password came.
type suspect struct {
	seen, rests time.Time // the last failure, and until when no other try begins
}

func newPasswords(c clock.Clock, logger *slog.Logger, mostRest time.Duration) *passwords {
	hashes := max(1, runtime.GOMAXPROCS(0)/4)
	return &passwords{
		room: semaphore.NewWeighted(int64(hashes)), clock: c, logger: logger, most: mostRest,
		suspects: map[string]*suspect{}, waiting: map[string]int{},
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

// check runs do, which compares a password, when it is the turn of an address. wrong says of its error that the user or
// the password was wrong.
func (p *passwords) check(ctx context.Context, from string, do func() error, wrong func(error) bool) error {
	from = network(from)
	if err := p.enter(ctx, from); err != nil {
		return err
	}
	defer p.room.Release(1)
	began := p.clock.Now()
	err := do()
	if err != nil && wrong(err) {
		p.failed(from, p.clock.Now().Sub(began))
	} else {
		p.passed(from)
	}
	return err
}

// enter returns with room for a hash, once the address of a suspect has rested.
func (p *passwords) enter(ctx context.Context, from string) error {
	if !p.queue(from) {
		return status.Error(codes.ResourceExhausted,
			"mimir: too many logins wait at this address, from which wrong passwords came: try again later")
	}
	defer p.dequeue(from)
	for {
		if err := p.room.Acquire(ctx, 1); err != nil {
			return err
		}
		rest := p.rest(from)
		if rest <= 0 {
			return nil
		}
		p.room.Release(1)
		timer := p.clock.NewTimer(rest)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// queue counts one more who waits at an address; false if it is a suspect's, and too many do.
func (p *passwords) queue(from string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[from] >= mostWaiting && p.suspect(from) != nil {
		return false
	}
	p.waiting[from]++
	return true
}

func (p *passwords) dequeue(from string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[from]--; p.waiting[from] == 0 {
		delete(p.waiting, from)
	}
}

// rest returns how long an address still rests. If it does not, nobody else of it begins before this one has ended, or
// as long as an address rests at most.
func (p *passwords) rest(from string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, now := p.suspect(from), p.clock.Now()
	if s == nil {
		return 0
	}
	if rest := s.rests.Sub(now); rest > 0 {
		return rest
	}
	s.rests = now.Add(p.most)
	return 0
}

// suspect returns what is remembered of an address, nil if nothing is. The caller holds mu.
func (p *passwords) suspect(from string) *suspect {
	s := p.suspects[from]
	if s == nil && len(p.suspects) >= mostSuspects {
		s = p.suspects[""]
	}
	if s == nil || p.clock.Now().Sub(s.seen) >= failureMemory {
		return nil
	}
	return s
}

// passed lets the next one of an address begin at once.
func (p *passwords) passed(from string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.suspect(from); s != nil {
		s.rests = p.clock.Now()
	}
}

// failed remembers the address of a wrong password.
func (p *passwords) failed(from string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if len(p.suspects) >= mostSuspects {
		for name, s := range p.suspects {
			if now.Sub(s.seen) >= failureMemory {
				delete(p.suspects, name)
			}
		}
	}
	s := p.suspects[from]
	if s == nil {
		if len(p.suspects) >= mostSuspects {
			from = ""
		}
		if s = p.suspects[from]; s == nil {
			s = &suspect{}
			p.suspects[from] = s
		}
	}
	s.seen, s.rests = now, now.Add(min(failureRest*took, p.most))
}

// log tells of a login that failed, or of many at once.
func (p *passwords) log(user, from string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	if now.Sub(p.logged) < failureLogEvery {
		p.unlogged++
		return
	}
	const mostName = 64 // of a stranger's choice
	p.logger.Warn("a login failed", "user", user[:min(len(user), mostName)], "from", from, "others", p.unlogged,
		"err", err)
	p.logged, p.unlogged = now, 0
}

// network is what an address is known by: a host, or the network of one that may have any number of addresses.
func network(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	const subscriber = 64
	whole, _ := ip.Prefix(subscriber)
	return whole.String()
}
