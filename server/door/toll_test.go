package door

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// from is a connection from an address.
type from struct {
	net.Conn
	addr netip.Addr
}

func (f from) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(f.addr, 1)) }

// Connections that come to nothing are turned away where too many come from one address, and nobody of another one is;
// those who prove their worth are let in as they come, wherever they come from.
func TestWhoComesToNothingIsTurnedAway(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		d := New(nil, Options{Most: 100_000, Strangers: 100_000})
		visit := func(n int, ip string, proves bool) (in int) {
			for range n {
				near, far := net.Pipe()
				far.Close()
				c := d.admit(from{near, netip.MustParseAddr(ip)})
				if c == nil {
					continue
				}
				in++
				if proves {
					Prove(c.RemoteAddr())
					Prove(c.RemoteAddr()) // counts once
				}
				c.Close()
			}
			return in
		}
		const burst, each = 1000, 100
		if n := visit(3*burst, "10.0.0.1", true); n != 3*burst {
			t.Errorf("%d of %d clients are in", n, 3*burst)
		}
		if n := visit(2*burst, "10.0.0.1", false); n != burst {
			t.Errorf("%d who came to nothing are in, want %d", n, burst)
		}
		if n := visit(1, "10.0.0.1", true); n != 0 {
			t.Error("the address is let in")
		}
		for _, ip := range []string{"10.0.0.2", "::ffff:10.0.0.3", "2001:db8::1"} {
			if n := visit(1, ip, false); n != 1 {
				t.Errorf("%s is kept out", ip)
			}
		}
		visit(burst, "2001:db8::2", false)
		if n := visit(1, "2001:db8::3", false); n != 0 {
			t.Error("a network of IPv6 is let in by each of its addresses")
		}
		time.Sleep(time.Second)
		if n := visit(burst, "10.0.0.1", false); n != each {
			t.Errorf("%d are in a second later, want %d", n, each)
		}
		if n := d.Figures().Refused[ReasonToll]; n == 0 {
			t.Error("nobody is counted")
		}
	})
}

// What a door knows of addresses is bounded: beyond, they have one account, until some owe nothing any more.
func TestTollsAreBounded(t *testing.T) {
	now := time.Now()
	d := newTolls()
	come := func(i int) bool {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		_, in, _ := d.enter(from{addr: ip}.RemoteAddr(), now)
		return in
	}
	in := 0
	for i := range 3 * mostSources {
		if come(i) {
			in++
		}
	}
	if len(d.of) != mostSources || in != mostSources+int(tollOfOne.burst) {
		t.Errorf("%d accounts, %d in", len(d.of), in)
	}
	now = now.Add(time.Minute)
	if !come(1<<20) || len(d.of) > mostSources {
		t.Errorf("%d accounts", len(d.of))
	}
}

// Who has a whole site of IPv6 is let in twice as fast as who has one network, however many of those he has, and nobody
// of another site waits for it: neither is his account taken by the many.
func TestManyNetworksOfOneSite(t *testing.T) {
	now := time.Now()
	d := newTolls()
	come := func(site, network, host byte) bool {
		ip := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, site, 0, network, 15: host})
		_, in, _ := d.enter(from{addr: ip}.RemoteAddr(), now)
		return in
	}
	in := 0
	for range 40 {
		for network := range 250 {
			if come(1, byte(network), 1) {
				in++
			}
		}
	}
	if in != int(tollOfSite.burst) || len(d.of) != mostOfSite+1 {
		t.Errorf("%d are in, %d accounts", in, len(d.of))
	}
	if !come(2, 1, 1) {
		t.Error("another site is turned away")
	}
	for range 2 * int(tollOfOne.burst) {
		come(3, 1, 1)
	}
	if come(3, 1, 2) || !come(3, 2, 1) {
		t.Error("one network of a site is let in, or another one is not")
	}
	now = now.Add(time.Minute)
	d.settle(now)
	if len(d.of) != 0 {
		t.Errorf("%d accounts of who owes nothing", len(d.of))
	}
}

// One network of a site does not keep the others of it out, however many the site has had: neither one that has an
// account of its own, nor one of those beyond. And the places of who owes nothing any more are given back.
func TestOneNetworkOfALargeSite(t *testing.T) {
	now := time.Now()
	d := newTolls()
	come := func(network int) bool {
		ip := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, byte(network >> 8), byte(network), 15: 1})
		_, in, _ := d.enter(from{addr: ip}.RemoteAddr(), now)
		return in
	}
	for network := range 3 * mostOfSite { // all owe something yet
		come(network)
	}
	for range 3 * int(tollOfOne.burst) {
		come(5 * mostOfSite)
	}
	if come(5*mostOfSite) || !come(1) {
		t.Error("a network beyond is let in for ever, or keeps out one that has an account")
	}
	now = now.Add(time.Minute)
	for range 3 * int(tollOfOne.burst) {
		come(6 * mostOfSite)
	}
	if come(6*mostOfSite) || !come(7*mostOfSite) {
		t.Error("places of who owes nothing are not given back")
	}
}

// A part of a site is on the account that the site has, also where room had to be made for it.
func TestASiteIsKeptWithItsParts(t *testing.T) {
	now := time.Now()
	for owing := range 3 {
		d := newTolls()
		for i := range mostSources - owing {
			d.enter(from{addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}.RemoteAddr(), now)
		}
		d.enter(from{addr: netip.MustParseAddr("2001:db8::1")}.RemoteAddr(), now)
		sites := 0
		for _, one := range d.of {
			if sites += one.has; one.site != nil && d.of[netip.MustParsePrefix("2001:db8::/48")] != one.site {
				t.Errorf("%d places: a part of a site that is forgotten", owing)
			}
		}
		if parts := len(d.of) - (mostSources - owing) - 1; sites != max(parts, 0) || len(d.of) > mostSources {
			t.Errorf("%d places: %d parts are counted, %d accounts", owing, sites, len(d.of))
		}
	}
}

// A site of which all have been idle is kept for the one that comes next, or it would begin anew each time.
func TestASiteIsKeptForTheNextOne(t *testing.T) {
	now := time.Now()
	d := newTolls()
	come := func(network int) {
		ip := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, byte(network >> 8), byte(network), 15: 1})
		d.enter(from{addr: ip}.RemoteAddr(), now)
	}
	for network := range 3*mostOfSite + 1 { // the last ones are the first of a time in which all others owe nothing
		if network%mostOfSite == 0 {
			now = now.Add(2 * time.Second)
		}
		come(network)
		for p, one := range d.of {
			if site := d.of[netip.MustParsePrefix("2001:db8:1::/48")]; one.site != nil && one.site != site {
				t.Fatalf("%s is a part of a site that is forgotten", p)
			}
		}
	}
	if len(d.of) != 2 {
		t.Errorf("%d accounts", len(d.of))
	}
}

// A site is kept as long as what its further networks have together owes something, which is paid more slowly.
func TestASiteIsKeptWithItsRest(t *testing.T) {
	now := time.Now()
	d := newTolls()
	come := func(network, n int) (in int) {
		ip := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, byte(network >> 8), byte(network), 15: 1})
		for range n {
			if _, ok, _ := d.enter(from{addr: ip}.RemoteAddr(), now); ok {
				in++
			}
		}
		return in
	}
	for network := range mostOfSite {
		come(network, 1)
	}
	come(mostOfSite, int(tollOfOne.burst))
	now = now.Add(6 * time.Second) // nobody owes anything but the rest
	d.settle(now)
	for network := range mostOfSite {
		come(network, 1)
	}
	if in, want := come(mostOfSite, int(tollOfOne.burst)), 6*int(tollOfOne.each); in != want {
		t.Errorf("%d more are in, want %d", in, want)
	}
	now = now.Add(time.Minute)
	if d.settle(now); len(d.of) != 0 {
		t.Errorf("%d accounts of who owes nothing", len(d.of))
	}
}

// The account is named that does not let a newcomer in: his own, that of his site, or that of its further networks.
func TestTheLogNamesTheAccountThatIsFull(t *testing.T) {
	one, all := "at-once=1000 each-second=100", "at-once=2000 each-second=200"
	for name, c := range map[string]struct {
		come [][2]int // networks, and how many come from each
		line string
	}{
		"a network":         {[][2]int{{1, 1001}}, "of=2001:db8:1:1::/64 " + one},
		"its site":          {[][2]int{{1, 1000}, {2, 1000}, {3, 1}}, "of=2001:db8:1::/48 " + all},
		"further ones":      {[][2]int{{mostOfSite, 1001}}, "of=\"2001:db8:1::/48 beyond 64 networks\" " + one},
		"the site of those": {[][2]int{{1, 999}, {2, 937}, {mostOfSite, 1}}, "of=2001:db8:1::/48 " + all},
	} {
		virtual.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			d := New(nil, Options{
				Most: 100_000, Strangers: 100_000, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			come := func(network, n int) {
				for range n {
					near, far := net.Pipe()
					far.Close()
					ip := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 0, byte(network), 15: 1})
					if c := d.admit(from{near, ip}); c != nil {
						c.Close()
					}
				}
			}
			if last := c.come[len(c.come)-1]; last[0] == mostOfSite { // all others have accounts
				for network := range mostOfSite {
					come(network, 1)
				}
			}
			for _, many := range c.come {
				come(many[0], many[1])
			}
			if lines := log.String(); strings.Count(lines, "\n") != 1 || !strings.Contains(lines, c.line) {
				t.Errorf("%s: want %q in\n%s", name, c.line, lines)
			}
		})
	}
}

// Networks of private addresses are no site: all of a company may have the same prefix.
func TestPrivateNetworksAreNoSite(t *testing.T) {
	now := time.Now()
	d, in := newTolls(), 0
	for network := range 30 {
		for range 100 {
			ip := netip.AddrFrom16([16]byte{0xfd, 7: byte(network), 15: 1})
			if _, ok, _ := d.enter(from{addr: ip}.RemoteAddr(), now); ok {
				in++
			}
		}
	}
	if in != 3000 {
		t.Errorf("%d of 3,000 are in", in)
	}
}

// Of all newcomers whom their addresses let in so many a second are looked at.
func TestNewcomersAreLookedAtSoFast(t *testing.T) {
	now := time.Now()
	began, d := now, newTolls()
	for i := range 20_000 {
		ip := netip.AddrFrom4([4]byte{10, 0, byte(i % mostSources >> 8), byte(i % mostSources)})
		_, _, wait := d.enter(from{addr: ip}.RemoteAddr(), now)
		now = now.Add(wait)
	}
	if took := now.Sub(began); took < 7*time.Second || took > 9*time.Second {
		t.Errorf("20,000 took %v", took)
	}
}

// Who floods from one address, as fast as he likes, fills the system's queue, and keeps nobody waiting there who is
// from another.
func TestAFloodFromOneAddressKeepsNobodyWaiting(t *testing.T) {
	const flood, queue = 50_000, 4096 // a second, and how many wait to be accepted
	began := time.Now()
	now, d, waiting := began, newTolls(), 0.0
	take := func(ip string) {
		_, _, wait := d.enter(from{addr: netip.MustParseAddr(ip)}.RemoteAddr(), now)
		wait += time.Microsecond
		now, waiting = now.Add(wait), min(queue, waiting-1+wait.Seconds()*flood)
	}
	for now.Sub(began) < 10*time.Second {
		take("10.0.0.1")
	}
	came := now
	for ahead := int(waiting); ahead > 0; ahead-- {
		take("10.0.0.1")
	}
	if waited := now.Sub(came); waited > time.Second/2 {
		t.Errorf("an honest newcomer waits for %v behind %v others", waited, waiting)
	}
}

// Whoever proves his worth behind a handshake that named nobody has cost something, and half as much as who comes to
// nothing.
func TestANamelessHandshakeCosts(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		d := New(nil, Options{Most: 100_000, Strangers: 100_000})
		in := 0
		for range 3000 {
			near, far := net.Pipe()
			far.Close()
			c := d.admit(from{near, netip.MustParseAddr("10.0.0.1")})
			if c == nil {
				continue
			}
			in++
			Nameless(c.RemoteAddr())
			Prove(c.RemoteAddr())
			c.Close()
		}
		if in < 1990 || in > 2000 {
			t.Errorf("%d are in, want 2,000", in)
		}
	})
}
