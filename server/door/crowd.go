package door

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Who proved his worth and stayed for so long may come again within backWithin after he left, or a little later: it
// costs his address nothing. So all who are behind one proxy are back at once when that has restarted; and who stays
// and leaves only to come again does so more seldom than he may without that.
const stayed, backWithin = 5 * time.Minute, 5 * time.Minute

// leastCrowd is of how many who may come again the account of an address is kept that owes nothing.
const leastCrowd = 100

// returning are those who left and may come again: of the time since it began, and of the one before.
type returning struct {
	began       time.Time
	now, before int
}

// turn begins another time when one is over.
func (r *returning) turn(now time.Time) {
	switch past := now.Sub(r.began); {
	case past < backWithin:
	case past < 2*backWithin:
		r.began, r.now, r.before = r.began.Add(backWithin), 0, r.now
	default:
		*r = returning{began: now}
	}
}

// add counts one who left.
func (r *returning) add(now time.Time) {
	r.turn(now)
	r.now++
}

// take reports whether the one who comes may be one of those, and counts him as that.
func (r *returning) take(now time.Time) bool {
	r.turn(now)
	switch {
	case r.before > 0:
		r.before--
	case r.now > 0:
		r.now--
	default:
		return false
	}
	return true
}

// crowd reports whether they are many.
func (r *returning) crowd(now time.Time) bool {
	r.turn(now)
	return r.now+r.before >= leastCrowd
}

// left says that one left from there who proved his worth and had stayed.
func (t *tolls) left(from net.Addr, now time.Time) {
	source := sourceOf(from)
	if t.crowded(source) {
		return
	}
	if account := t.account(source, now); account != nil && t.of[source] == account { // else it is of many
		account.back.add(now)
	}
}

// crowded reports whether no toll is taken of a source.
func (t *tolls) crowded(source netip.Prefix) bool {
	return source.IsValid() && slices.ContainsFunc(t.crowds, func(p netip.Prefix) bool {
		return p.Bits() <= source.Bits() && p.Contains(source.Addr())
	})
}

// Crowds says from now on in which networks an address may have many behind it: none of those is turned away there
// because others came to nothing. What is of all newcomers holds for them too.
func (d *Door) Crowds(networks []netip.Prefix) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tolls.crowds = networks
}

// ParseCrowds reads networks, 10.0.0.0/8 or 2001:db8::/48, and single addresses. Of IPv6 a network is one of /64 at
// most, which is what is told apart, and an address stands for that of its own.
func ParseCrowds(texts []string) (networks []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if ip, inner := netip.ParseAddr(text); inner == nil && ip.Zone() == "" {
			p, err = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()), nil
		}
		if err != nil || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%q is no network: want 10.0.0.0/8, 2001:db8::/48 or an address", text)
		}
		if p.Addr().Is6() && p.Bits() > networkBits {
			p = netip.PrefixFrom(p.Addr(), networkBits)
		}
		networks = append(networks, p.Masked())
	}
	return networks, nil
}
