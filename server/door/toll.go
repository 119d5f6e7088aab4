package door

import (
	"net"
	"net/netip"
	"time"
)

// What newcomers who come to nothing may cost: so many at once, and then so many a second. Those from one address that
// are more are turned away, and of all so many are looked at. Whoever has proved his worth costs nothing, so that a
// crowd of clients that comes back is let in as fast as it asks.
var (
	tollOfOne = rate{burst: 1000, each: 100}
	tollOfAll = rate{burst: 4000, each: 2000}
)

// What one costs of all that are looked at, and one that is turned away, of whom little more than his end is seen: who
// connects faster than he may is taken from the system's queue in less than half a second, so that others who stand
// there are looked at.
const costOfOne, costOfTurnedAway = 1, 0.2

// costOfNameless is what one costs who proves his worth behind a handshake of TLS that named nobody: what is asked then
// may be nothing, and the handshake cost more than that.
const costOfNameless = 0.5

// mostSources is of how many addresses a door knows what they owe; what comes from more is one account.
const mostSources = 1024

// rate is how many may come at once, and how many a second.
type rate struct{ burst, each float64 }

// toll is what newcomers owe.
type toll struct {
	rate
	owed float64
	at   time.Time
}

// charge counts a newcomer, and returns how long it takes until as many may have come; zero: he may.
func (t *toll) charge(cost float64, now time.Time) time.Duration {
	t.owed = max(0, t.owed-now.Sub(t.at).Seconds()*t.each) + cost
	t.at = now
	if t.owed <= t.burst {
		return 0
	}
	return time.Duration((t.owed - t.burst) / t.each * float64(time.Second))
}

// refund takes back so much of what one was charged.
func (t *toll) refund(cost float64) { t.owed = max(0, t.owed-cost) }

// tolls are those of a door.
type tolls struct {
	all    toll
	of     map[netip.Prefix]*toll
	others *toll
}

func newTolls() tolls {
	return tolls{all: toll{rate: tollOfAll}, of: map[netip.Prefix]*toll{}, others: &toll{rate: tollOfOne}}
}

// sourceOf returns where a connection comes from: an address, or of IPv6 the network that one party has. It is not
// valid for one that comes over no network.
func sourceOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}

// account returns what a source owes, nil if it is none.
func (t *tolls) account(source netip.Prefix, now time.Time) *toll {
	if !source.IsValid() {
		return nil
	}
	one := t.of[source]
	if one != nil {
		return one
	}
	if len(t.of) >= mostSources {
		for p, o := range t.of {
			if o.owed <= now.Sub(o.at).Seconds()*o.each {
				delete(t.of, p)
			}
		}
	}
	if len(t.of) >= mostSources {
		return t.others
	}
	one = &toll{rate: tollOfOne}
	t.of[source] = one
	return one
}

// enter counts a newcomer from an address. It returns his account, whether it lets him in, and how long the door is
// to wait before it looks at the next one.
func (t *tolls) enter(from net.Addr, now time.Time) (account *toll, in bool, wait time.Duration) {
	account = t.account(sourceOf(from), now)
	if account != nil && account.charge(costOfOne, now) > 0 {
		account.refund(costOfOne) // he is not let in, and costs no more than that
		return nil, false, t.all.charge(costOfTurnedAway, now)
	}
	return account, true, t.all.charge(costOfOne, now)
}

// Prove says that the connection from there did what the listener is for: its client showed a certificate that is
// taken, asked something (by HTTP/1.1 whatever it will be answered, by HTTP/2 something that had more than a refusal),
// or it is a node's that was admitted. Connections of which that is never said are turned away where too many of them
// come from one address. One that came through no door is left alone.
func Prove(from net.Addr) {
	if a, ok := from.(addr); ok {
		a.prove()
	}
}

// Nameless says that the connection from there made a handshake of TLS in which its client showed no certificate that
// is taken: when it proves its worth ([Prove]), part of what it cost remains. One that came through no door is left
// alone.
func Nameless(from net.Addr) {
	if a, ok := from.(addr); ok {
		a.conn.nameless.Store(true)
	}
}

func (a addr) prove() {
	if a.conn.proved.Swap(true) {
		return
	}
	back := float64(costOfOne)
	if a.conn.nameless.Load() {
		back -= costOfNameless
	}
	d := a.conn.door
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tolls.all.refund(back)
	if a.conn.account != nil {
		a.conn.account.refund(back)
	}
}
