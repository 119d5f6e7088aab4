package door

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Who connects as fast as all are looked at, from addresses that are others each time, has nobody else who is new
// turned away.
func TestWhoComesFromManyAddressesTurnsNobodyElseAway(t *testing.T) {
	for name, address := range map[string]func(n uint32) netip.Addr{
		"of IPv4": func(n uint32) netip.Addr {
			return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 11<<24+n)))
		},
		"of sites of IPv6": func(n uint32) netip.Addr {
			ip := netip.MustParseAddr("2001:db8::1").As16()
			binary.BigEndian.PutUint32(ip[2:], n)
			return netip.AddrFrom16(ip)
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual.Test(t, func(t *testing.T) {
				d := New(nil, Options{Most: 100_000, Strangers: 100_000})
				visit := func(ip netip.Addr) (in bool) {
					near, far := net.Pipe()
					far.Close()
					if !d.itsTurn() {
						t.Fatal("the door is closed")
					}
					c := d.admit(from{near, ip})
					if c != nil {
						c.Close()
					}
					return c != nil
				}
				const newcomers, seconds = 200, 20
				began, n, away := time.Now(), uint32(0), 0
				for i := range newcomers {
					for time.Since(began) < time.Duration(i)*seconds*time.Second/newcomers {
						visit(address(n))
						n++
					}
					if !visit(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})) {
						away++
					}
				}
				t.Logf("%d from elsewhere in %v", n, time.Since(began))
				if away > 0 {
					t.Errorf("%d of %d who are new are turned away", away, newcomers)
				}
			})
		})
	}
}
