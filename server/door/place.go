package door

import (
	"net"
	"net/netip"
)

// How much of an address of IPv6 is that of the network that one party has, and of its site, which may have many: an
// attacker who has such a site has 65,536 of those.
const networkBits, siteBits = 64, 48

// Source returns what of an address is one party's: an address of IPv4, of IPv6 the network that one party has. It is
// not valid for an address that is not.
func Source(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap()
	bits := networkBits
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}

// Site returns the site of a source, which may have many of those: the source itself, if it is of IPv4, or private: all
// of a company may have the same.
func Site(source netip.Prefix) netip.Prefix {
	if !source.IsValid() || source.Addr().Is4() || source.Addr().IsPrivate() {
		return source
	}
	p, _ := source.Addr().Prefix(siteBits)
	return p
}

// sourceOf returns where a connection comes from. It is not valid for one that comes over no network.
func sourceOf(a net.Addr) netip.Prefix {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return Source(tcp.AddrPort().Addr())
	}
	return netip.Prefix{}
}

// Party returns of whom the connection from there is, for books that are kept by that: of a source, and its site.
// Neither is valid where that tells nobody apart: of one that comes over no network, or from where an address has many
// behind it ([Door.Crowds]); or through no door.
func Party(from net.Addr) (site, source netip.Prefix) {
	a, ok := from.(addr)
	if !ok {
		return site, source
	}
	d := a.conn.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if source = sourceOf(a.Addr); d.tolls.crowded(source) {
		return netip.Prefix{}, netip.Prefix{}
	}
	return Site(source), source
}
