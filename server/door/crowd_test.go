package door

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// crowd are clients behind one address, of whom each comes again a second after it was turned away.
type crowd struct {
	*Door
	addr   netip.Addr
	inside []net.Conn
}

// come has so many come at once, who show no certificate and ask something, and returns how long it takes until all are
// in.
func (c *crowd) come(n int) time.Duration {
	began := time.Now()
	for missing := n; missing > 0; {
		for range missing {
			near, far := net.Pipe()
			far.Close()
			time.Sleep(time.Until(c.next))
			if in := c.admit(from{near, c.addr}); in != nil {
				missing--
				Vouch(in)
				Nameless(in.RemoteAddr())
				Prove(in.RemoteAddr())
				c.inside = append(c.inside, in)
			}
		}
		if missing > 0 {
			time.Sleep(time.Second)
		}
	}
	return time.Since(began)
}

func (c *crowd) leave() {
	for _, one := range c.inside {
		one.Close()
	}
	c.inside = nil
}

func newCrowd(ip string, o Options) *crowd {
	o.Most, o.Strangers, o.Logger = 100_000, 100_000, slog.New(slog.DiscardHandler)
	return &crowd{Door: New(nil, o), addr: netip.MustParseAddr(ip)}
}

// All who are behind one proxy that restarts are back within seconds, also those who show nothing; and all who come for
// the first time, where it is said that many are behind it.
func TestACrowdComesBack(t *testing.T) {
	const many, seconds = 5000, 3 * time.Second
	for _, ip := range []string{"10.0.0.1", "2001:db8::1"} {
		virtual.Test(t, func(t *testing.T) {
			c := newCrowd(ip, Options{})
			if took := c.come(many); took < 5*seconds {
				t.Errorf("%s: strangers are in within %v", ip, took)
			}
			time.Sleep(stayed)
			c.leave()
			time.Sleep(30 * time.Second)
			if took := c.come(many); took > seconds {
				t.Errorf("%s: a crowd is back within %v", ip, took)
			}
			c.leave()
			if took := c.come(many); took < 5*seconds {
				t.Errorf("%s: who did not stay is back within %v", ip, took)
			}
		})
		virtual.Test(t, func(t *testing.T) {
			c := newCrowd(ip, Options{Crowds: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"),
				netip.MustParsePrefix("2001:db8::/48")}})
			if took := c.come(many); took > seconds {
				t.Errorf("%s: who may be many are in within %v", ip, took)
			}
			if c.Crowds(nil); c.come(many) < 5*seconds {
				t.Error("it is not taken back")
			}
		})
	}
}

// Who stays only to come again comes so no more often than he had to stay, however long he saves it up.
func TestToStayIsNoWayIn(t *testing.T) {
	now := time.Now()
	d := newTolls()
	addr := from{addr: netip.MustParseAddr("10.0.0.1")}.RemoteAddr()
	const held = 600
	for range int(time.Hour / stayed * held) { // one leaves, and another one comes
		d.left(addr, now)
		now = now.Add(stayed / held)
	}
	in := 0
	for range 10 * held {
		if _, ok, _ := d.enter(addr, now); ok {
			in++
		}
	}
	if free := in - int(tollOfOne.burst); free < held || free > 2*held {
		t.Errorf("%d are in beside those who are let in anyway", free)
	}
	for range 10 * held {
		d.left(addr, now)
	}
	now = now.Add(2 * backWithin)
	if d.of[sourceOf(addr)].back.take(now) {
		t.Error("it holds for ever")
	}
}

// The accounts of crowds are kept, though they owe nothing, and those of few who left are not.
func TestACrowdIsExpected(t *testing.T) {
	now := time.Now()
	d := newTolls()
	for i := range 2 * mostSources {
		addr := from{addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}.RemoteAddr()
		for range 1 + i%2*(leastCrowd-1)*(max(0, 300-i)/150) { // some 75 crowds
			d.left(addr, now)
		}
		now = now.Add(time.Millisecond)
	}
	now = now.Add(time.Minute)
	d.settle(now)
	if n := len(d.of); n < 70 || n > 80 {
		t.Errorf("%d accounts", n)
	}
	now = now.Add(time.Hour)
	if d.settle(now); len(d.of) != 0 {
		t.Errorf("%d accounts an hour later", len(d.of))
	}
}

// What holds of all holds of a crowd too: more are not looked at in a second.
func TestACrowdIsLookedAtSoFast(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		c := newCrowd("10.0.0.1", Options{Crowds: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}})
		began := time.Now()
		for range 20_000 {
			near, far := net.Pipe()
			far.Close()
			time.Sleep(time.Until(c.next))
			c.admit(from{near, c.addr}).Close()
		}
		if took := time.Since(began); took < 7*time.Second || took > 9*time.Second {
			t.Errorf("20,000 took %v", took)
		}
	})
}

func TestParseCrowds(t *testing.T) {
	networks, err := ParseCrowds([]string{"10.1.2.3/8", "192.0.2.1", "::ffff:192.0.2.2", "2001:db8::/48", "2001:db8::1",
		"2001:db8:0:1::2/127"})
	got := []string{}
	for _, p := range networks {
		got = append(got, p.String())
	}
	want := []string{"10.0.0.0/8", "192.0.2.1/32", "192.0.2.2/32", "2001:db8::/48", "2001:db8::/64",
		"2001:db8:0:1::/64"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"", "a", "10.0.0.0/33", "fe80::1%eth0", "::ffff:10.0.0.0/104"} {
		if _, err := ParseCrowds([]string{text}); err == nil {
			t.Errorf("%q is a network", text)
		}
	}
	d := newTolls()
	d.crowds = networks
	for ip, want := range map[string]bool{"10.200.0.1": true, "192.0.2.1": true, "192.0.2.3": false,
		"2001:db8:0:77::1": true, "2001:db8:1::1": false, "::ffff:10.0.0.1": true} {
		if got := d.crowded(sourceOf(from{addr: netip.MustParseAddr(ip)}.RemoteAddr())); got != want {
			t.Errorf("%s: %t", ip, got)
		}
	}
}

// The log has a line for each reason, which says whose account it is, however many are turned away for another.
func TestTheLogNamesEachReason(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := newCrowd("2001:db8::1", Options{})
		c.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Bound(50, 10)
		for range 3000 {
			near, far := net.Pipe()
			far.Close()
			c.admit(from{near, c.addr})
		}
		for _, want := range []string{
			"connections are turned away", "of=2001:db8::/64 at-once=1000 each-second=100", "made room for another",
		} {
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("%d times %q", n, want)
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
	})
}
