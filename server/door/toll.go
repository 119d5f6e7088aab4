package door

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// What newcomers who come to nothing may cost: so many at once, and then so many a second. Those from one address that
// are more are turned away, of IPv6 those from one network that are, and of all so many are looked at. Whoever has
// proved his worth costs nothing, so that a crowd of clients that comes back is let in as fast as it asks.
var (
	tollOfOne  = rate{burst: 1000, each: 100}
	tollOfSite = rate{burst: 2000, each: 200}
	tollOfAll  = rate{burst: 4000, each: 2000}
)

// What one costs of all that are looked at, and one that is turned away, of whom little more than his end is seen: who
// connects faster than he may is taken from the system's queue in less than half a second, so that others who stand
// there are looked at.
const costOfOne, costOfTurnedAway = 1, 0.2

// costOfNameless is what one costs who proves his worth behind a handshake of TLS that named nobody: what is asked then
// may be nothing, and the handshake cost more than that.
const costOfNameless = 0.5

// mostSources is of how many addresses a door knows what they owe; what comes from more is one account. mostOfSite is
// of how many of one site it does, with one that all further ones of that site have together.
const mostSources, mostOfSite = 1024, 64

// settleEach is how often it is looked for accounts that owe nothing, at most: who floods the door has it look for each
// newcomer else. It is far less than what as many as are looked at need to take all accounts there are, each for the
// moment in which it owes something: who comes from many addresses has nobody else fall among those beyond.
const settleEach = 50 * time.Millisecond

// rate is how many may come at once, and how many a second.
type rate struct{ burst, each float64 }

// toll is what newcomers owe.
type toll struct {
	rate
	of   string // whose it is, for the log
	owed float64
	at   time.Time

	back returning // who were here and may come again

	site *toll // whose part it is, which owes as much; nil: of none
	has  int   // parts
	rest *toll // the part that is of all sources beyond; nil: there are none
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

// owes reports whether something is left of it.
func (t *toll) owes(now time.Time) bool { return t.owed > now.Sub(t.at).Seconds()*t.each }

// idle reports whether nothing is to be known of it any more: neither it nor a part of it owes anything, and no crowd
// is expected. What a site's further networks have together may owe more than the site itself, which pays faster.
func (t *toll) idle(now time.Time) bool {
	return t.has == 0 && !t.owes(now) && !t.back.crowd(now) && (t.rest == nil || t.rest.idle(now))
}

// enter is charge for it and its site. It returns which of them is full, and does not let the newcomer in, who then
// costs neither of them anything; nil: he may.
func (t *toll) enter(cost float64, now time.Time) (full *toll) {
	if t.charge(cost, now) > 0 {
		full = t
	}
	if t.site != nil && t.site.charge(cost, now) > 0 && full == nil {
		full = t.site
	}
	if full != nil {
		t.leave(cost)
	}
	return full
}

// leave takes back so much of what enter charged.
func (t *toll) leave(cost float64) {
	t.refund(cost)
	if t.site != nil {
		t.site.refund(cost)
	}
}

// refund takes back so much of what one was charged.
func (t *toll) refund(cost float64) { t.owed = max(0, t.owed-cost) }

// tolls are those of a door.
type tolls struct {
	all    toll
	crowds []netip.Prefix // in which no address has a toll
	of     map[netip.Prefix]*toll
	others *toll

	settled time.Time // when it was looked last for accounts that owe nothing
}

func newTolls() tolls {
	return tolls{
		all: toll{rate: tollOfAll}, of: map[netip.Prefix]*toll{},
		others: &toll{rate: tollOfOne, of: fmt.Sprintf("addresses beyond %d", mostSources)},
	}
}

// account returns what a source owes, nil if it is none.
func (t *tolls) account(source netip.Prefix, now time.Time) *toll {
	if !source.IsValid() {
		return nil
	}
	if one := t.of[source]; one != nil {
		return one
	}
	site := Site(source)
	if site == source {
		return t.open(source, tollOfOne, nil, now)
	}
	all := t.of[site]
	if all == nil {
		if all = t.open(site, tollOfSite, nil, now); all == t.others {
			return all
		}
	}
	if all.has >= mostOfSite {
		all.has++ // it stays while room is made, as it is to have one more
		t.settle(now)
		all.has--
	}
	if all.has < mostOfSite {
		return t.open(source, tollOfOne, all, now)
	}
	if all.rest == nil {
		all.rest = &toll{rate: tollOfOne, site: all, of: fmt.Sprintf("%s beyond %d networks", all.of, mostOfSite)}
	}
	return all.rest
}

// open makes an account, where there is room for it or some owe nothing any more, and else it is that of all others.
func (t *tolls) open(source netip.Prefix, r rate, site *toll, now time.Time) *toll {
	if site != nil {
		site.has++ // it stays while room is made
	}
	if len(t.of) >= mostSources {
		t.settle(now)
	}
	if len(t.of) >= mostSources {
		if site != nil {
			site.has--
		}
		return t.others
	}
	one := &toll{rate: r, site: site, of: source.String()}
	t.of[source] = one
	return one
}

// settle forgets accounts that owe nothing any more and expect no crowd, those of sites after their parts.
func (t *tolls) settle(now time.Time) {
	if now.Sub(t.settled) < settleEach {
		return
	}
	t.settled = now
	for p, one := range t.of {
		if one.site != nil && one.idle(now) {
			one.site.has--
			delete(t.of, p)
		}
	}
	for p, one := range t.of {
		if one.idle(now) {
			delete(t.of, p)
		}
	}
}

// enter counts a newcomer from an address. It returns the account that lets him in, or the one that does not, nil if he
// needs none, whether he is in, and how long the door is to wait before it looks at the next one.
func (t *tolls) enter(from net.Addr, now time.Time) (account *toll, in bool, wait time.Duration) {
	source := sourceOf(from)
	if t.crowded(source) {
		return nil, true, t.all.charge(costOfOne, now)
	}
	account = t.account(source, now)
	switch {
	case account == nil:
	case account.back.take(now):
		account = nil // it is free
	default:
		if full := account.enter(costOfOne, now); full != nil {
			return full, false, t.all.charge(costOfTurnedAway, now)
		}
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
		a.conn.account.leave(back)
	}
}
