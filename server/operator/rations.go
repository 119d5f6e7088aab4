package operator

import (
	"maps"
	"net/netip"
	"sync"
	"time"
)

const (
	// mostOfPot is how many calls are let in at once of all that share a pot, and potEach how many a second then.
	mostOfPot, potEach = 500, 0.2
	// fewCalls is how many of a site are few, let in or not, and fewEach how many more a second.
	fewCalls, fewEach = 20, 0.01
	// mostSites bounds the sites that are told apart; those beyond are one, which has called much.
	mostSites = 1024
)

// rations bound how many calls are let in of those who have shown no right, where each that is let in is to be written:
// so they do not fill the disk of the audit log, and nothing that was done is missing in it. There are three pots, so
// that who calls much takes nothing from others: for who is on this machine, for sites that have called little, and for
// all others. It is safe for concurrent use.
type rations struct {
	mu                sync.Mutex
	inside, few, many spent
	sites             map[netip.Prefix]*spent
	looked            time.Time // for sites of which nothing counts any more
}

// take reports whether a call from a site is let in, and counts it then. It is not valid for who is on this machine.
func (r *rations) take(site netip.Prefix, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !site.IsValid() {
		return r.inside.take(mostOfPot, potEach, now)
	}
	if of := r.of(site, now); of != nil && of.take(fewCalls, fewEach, now) {
		return r.few.take(mostOfPot, potEach, now)
	}
	return r.many.take(mostOfPot, potEach, now)
}

// of returns what a site has called, nil if it is one of too many. mu is held.
func (r *rations) of(site netip.Prefix, now time.Time) *spent {
	if one := r.sites[site]; one != nil {
		return one
	}
	if len(r.sites) >= mostSites && now.Sub(r.looked) >= time.Second {
		r.looked = now
		maps.DeleteFunc(r.sites, func(_ netip.Prefix, s *spent) bool { return s.has(1, fewEach, now) })
	}
	if len(r.sites) >= mostSites {
		return nil
	}
	if r.sites == nil {
		r.sites = map[netip.Prefix]*spent{}
	}
	one := &spent{}
	r.sites[site] = one
	return one
}
