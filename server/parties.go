package server

import (
	"math"
	"net/netip"
	"sync/atomic"
)

// party is of whom something is kept together: an address with its connections, a site of IPv6 with its addresses, or
// all there are. Of what may be kept of a party each of its parts has a share by its weight. That of a connection is
// one, and that of a party the root of what its parts have: so whoever makes many connections has not as much as many
// who make one each, and those who are many behind one address have more than one.
type party struct {
	of           *party // whose part it is; nil: of none
	name         netip.Prefix
	bytes, going atomic.Int64 // as those of kept

	// What follows is guarded by the mutex of what is kept.
	clients map[*underway]bool
	parties map[netip.Prefix]*party
	weights float64 // of its parts, in all
}

func (p *party) weight() float64 { return math.Sqrt(p.weights) }

// part returns the one of a name, which is made if there is none.
func (p *party) part(name netip.Prefix) *party {
	one := p.parties[name]
	if one == nil {
		if p.parties == nil {
			p.parties = map[netip.Prefix]*party{}
		}
		one = &party{of: p, name: name}
		p.parties[name] = one
	}
	return one
}

// join takes a client in, and returns whose part he is. Who is of no address is by himself.
func (p *party) join(u *underway) *party {
	if u.site.IsValid() {
		p = p.part(u.site)
	}
	if u.source != u.site {
		p = p.part(u.source)
	}
	if p.clients == nil {
		p.clients = map[*underway]bool{}
	}
	p.clients[u] = true
	p.grow(1)
	return p
}

// leave lets a client go, and with the last one the party.
func (p *party) leave(u *underway) {
	delete(p.clients, u)
	p.grow(-1)
	for p.of != nil && len(p.clients)+len(p.parties) == 0 {
		p.grow(-p.weights) // whatever was lost of it in rounding: its root is far more, and would stay in what p is of
		delete(p.of.parties, p.name)
		p = p.of
	}
	if len(p.clients)+len(p.parties) == 0 {
		p.weights = 0 // as before
	}
}

// grow changes the weights by what one of its parts weighs more.
func (p *party) grow(by float64) {
	for ; p != nil; p = p.of {
		before := p.weight()
		p.weights = max(0, p.weights+by)
		by = p.weight() - before
	}
}

// share returns what of most is that of one of its clients.
func (p *party) share(most int64) int64 {
	part := float64(most) / p.weights
	for ; p.of != nil; p = p.of {
		part *= p.weight() / p.of.weights
	}
	return int64(part)
}

// above adds those of its clients who have more than their share kept where their party has, both without what is being
// ended, and how many times that. share is what may be kept of the party, of which it is not asked whether it has more.
func (p *party) above(who []hoarder, share float64) []hoarder {
	share /= p.weights
	for u := range p.clients {
		if n := float64(u.bytes.Load() - u.going.Load()); n > share {
			who = append(who, hoarder{u, n / share})
		}
	}
	for _, one := range p.parties {
		if its := share * one.weight(); float64(one.bytes.Load()-one.going.Load()) > its {
			who = one.above(who, its)
		}
	}
	return who
}

// keep counts bytes of one of its clients.
func (p *party) keep(n int64) {
	for ; p != nil; p = p.of {
		p.bytes.Add(n)
	}
}

// end counts bytes of requests that are being ended.
func (p *party) end(n int64) {
	for ; p != nil; p = p.of {
		p.going.Add(n)
	}
}
