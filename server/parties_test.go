package server

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/server/door"
)

// holding says of an address that some have so much kept each who come from it; of none, that each is by himself.
type holding struct {
	from    string
	clients int
	each    int64
}

// holdings returns what is kept of all of them, and of each one client.
func holdings(most int64, of ...holding) (k *kept, one []*underway) {
	k = &kept{}
	k.most.Store(most)
	for _, h := range of {
		for n := range h.clients {
			u := &underway{kept: k}
			if h.from != "" {
				u.source = door.Source(netip.MustParseAddr(h.from))
				u.site = door.Site(u.source)
			}
			if u.keep(h.each); n == 0 {
				one = append(one, u)
			}
		}
	}
	return k, one
}

// Where too much is kept, whoever has most for his weight loses first, by address and not by connection, and whoever
// has no more than his share loses nothing.
func TestWhoHasMostForHisWeight(t *testing.T) {
	const most = 1000
	for name, c := range map[string]struct {
		of     []holding
		loses  int  // of which holding it is who loses first
		beyond bool // the first has more than his share
	}{
		"many connections of one, each smaller than an honest request": {
			[]holding{{"10.0.0.1", 1, 15}, {"10.0.0.2", 200, 5}}, 1, false},
		"the same of a network of IPv6": {
			[]holding{{"2001:db8::1", 1, 15}, {"2001:db8:1::2", 200, 5}}, 1, false},
		"in one site, of several networks": {
			[]holding{{"2001:db8:0:1::1", 1, 15}, {"2001:db8:0:2::1", 200, 5}}, 1, false},
		"a crowd beside one who has much": {
			[]holding{{"10.0.0.1", 100, 5}, {"10.0.0.2", 1, 600}}, 1, false},
		"one in the crowd": {
			[]holding{{"10.0.0.1", 100, 5}, {"10.0.0.1", 1, 600}}, 1, false},
		"where an address tells nobody apart": {
			[]holding{{"", 200, 5}, {"", 1, 15}}, 1, true},
		"of two addresses that which has more": {
			[]holding{{"10.0.0.1", 10, 50}, {"10.0.0.2", 10, 60}}, 1, true},
		"who has all": {
			[]holding{{"10.0.0.1", 1, 1001}}, 0, true},
		"beside who is on the machine": {
			[]holding{{"", 1, 15}, {"10.0.0.2", 200, 5}}, 1, false},
	} {
		k, one := holdings(most, c.of...)
		all, _ := k.hoarders(true, time.Now())
		if len(all) == 0 {
			t.Errorf("%s: nobody loses", name)
			continue
		}
		who := all[0].underway
		if who.source != one[c.loses].source || who.bytes.Load() != c.of[c.loses].each {
			t.Errorf("%s: it is %+v", name, who)
			continue
		}
		if !k.beyond(who) {
			t.Errorf("%s: who loses first has no more than his share", name)
		}
		if got := k.beyond(one[0]); got != c.beyond {
			t.Errorf("%s: the first is beyond: %t", name, got)
		}
	}
}

// Networks of a site come and go beside somebody who stays: his share is what it was.
func TestWhoComesAndGoesLeavesNoWeight(t *testing.T) {
	const rounds = 2000
	k, stays := holdings(1<<40, holding{"10.0.0.1", 1, 1})
	var site []*underway
	for _, n := range []int{0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6} {
		source := door.Source(netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::1", n)))
		site = append(site, &underway{kept: k, source: source, site: door.Site(source)})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		for _, by := range []int64{1, -1} {
			for _, i := range r.Perm(len(site)) {
				site[i].keep(by)
			}
		}
		if len(k.all.parties) != 1 {
			t.Fatalf("%d parties stay", len(k.all.parties))
		}
	}
	if got, want := stays[0].party.share(1<<40), int64(1<<40); want-got > 1<<10 {
		t.Errorf("after %d rounds his share is less by %d", rounds, want-got)
	}
}

// Whoever comes and goes: shares are all that may be kept, who has most has more than his where there is too much, and
// nothing stays in the books.
func TestSharesAreAllThereIs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	k, _ := holdings(1 << 20)
	var all []*underway
	for range 3000 {
		if len(all) > 0 && r.IntN(3) == 0 {
			n := r.IntN(len(all))
			all[n].leave()
			all[n] = all[len(all)-1]
			all = all[:len(all)-1]
			continue
		}
		u := &underway{kept: k}
		switch r.IntN(3) {
		case 0:
			u.source = door.Source(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(5))}))
		case 1:
			u.source = door.Source(netip.MustParseAddr(fmt.Sprintf("2001:db8:%x:%x::1", r.IntN(3), r.IntN(9))))
		}
		u.site = door.Site(u.source)
		all = append(all, u)
		u.keep(1 + r.Int64N(8<<10))
		u.goes(r.Int64N(1 + u.bytes.Load()/4))
	}
	shares, bytes := int64(0), int64(0)
	for _, u := range all {
		shares += u.party.share(1 << 20)
		bytes += u.bytes.Load()
	}
	if shares > 1<<20 || shares < 1<<20-int64(len(all)) {
		t.Errorf("shares are %d bytes of %d", shares, 1<<20)
	}
	if bytes != k.all.bytes.Load() || k.clients.Load() != int64(len(all)) {
		t.Errorf("%d bytes of %d clients, want %d of %d", k.all.bytes.Load(), k.clients.Load(), bytes, len(all))
	}
	k.most.Store(bytes / 2)
	for now := time.Now(); k.all.going.Load() < bytes/4; now = now.Add(lookEach) {
		list, _ := k.hoarders(true, now)
		if len(list) == 0 {
			t.Fatal("nobody has more than his share")
		}
		for _, who := range list[:1+len(list)/2] {
			if !k.beyond(who.underway) {
				t.Fatal("who is to lose has no more than his share")
			}
			who.goes(who.bytes.Load() - who.going.Load())
		}
	}
	for _, u := range all {
		u.leave()
	}
	all0 := &k.all
	if all0.bytes.Load() != 0 || all0.going.Load() != 0 || len(all0.clients)+len(all0.parties) != 0 ||
		all0.weights != 0 || k.clients.Load() != 0 {
		t.Errorf("%d bytes are left of %d, of weight %g", all0.bytes.Load(), k.clients.Load(), all0.weights)
	}
}

// comesFrom is a listener whose connections come from the addresses that are said.
type comesFrom struct {
	net.Listener
	next chan net.Addr
}

func (l *comesFrom) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fromThere{c, <-l.next}, nil
}

type fromThere struct {
	net.Conn
	at net.Addr
}

func (c fromThere) RemoteAddr() net.Addr { return c.at }

// A client whose many connections have less kept each than an honest request of another needs does not have that one
// refused, whoever is silent and whoever sends; and a crowd behind one address is served beside one who has too much.
func TestManyConnectionsOfOneAddressAreOne(t *testing.T) {
	const size, honest = 12 << 10, 48 << 10
	for name, c := range map[string]struct {
		connections, requests int // of the address that has most, and of each of them
		others                int // beside it, of one address
	}{
		"many connections": {40, 1, 1},
		"beside a crowd":   {1, 40, 5},
	} {
		virtual.Test(t, func(t *testing.T) {
			next := make(chan net.Addr, 1)
			i := newInnBehind(t, c.connections+c.others+2, func(l net.Listener) net.Listener {
				return &comesFrom{l, next}
			})
			i.both.clients.bound(0, 400<<10)
			speakFrom := func(ip string) *spoken {
				next <- &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}
				s := i.speak(t)
				virtual.Wait()
				return s
			}
			var hoards, others []*spoken
			for range c.connections {
				hoards = append(hoards, speakFrom("10.0.0.1"))
			}
			for range c.others {
				others = append(others, speakFrom("10.0.0.2"))
			}
			for n := range c.requests {
				for _, s := range hoards {
					id := uint32(1 + 2*n)
					s.say(headersOf(id, healthpb.Health_Check_FullMethodName), dataOf(id, size+1, size))
				}
			}
			for _, s := range others {
				s.say(headersOf(1, healthpb.Health_Check_FullMethodName), dataOf(1, honest, 0))
			}
			for come := 0; come < honest; come += 16 << 10 {
				for _, s := range others {
					s.say(frameOf(frameData, 0, 1, make([]byte, 16<<10)))
				}
				time.Sleep(100 * time.Millisecond)
			}
			for _, s := range others {
				s.say(frameOf(frameData, flagEndStream, 1, nil))
			}
			virtual.Wait()
			refused := 0
			for _, s := range hoards {
				refused += s.told(codeCalm)
			}
			for _, s := range others {
				if s.over() != 1 || s.told(codeCalm) != 0 {
					t.Errorf("%s: of another %d are answered, %d refused", name, s.over(), s.told(codeCalm))
				}
			}
			if refused == 0 {
				t.Errorf("%s: nothing is refused, %d bytes are kept", name, i.keeps())
			}
		})
	}
}
