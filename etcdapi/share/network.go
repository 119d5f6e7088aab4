package share

import (
	"net"
	"net/netip"
)

// Network is what an address is known by: a host, or the network of one that may have any number of addresses.
func Network(address string) string {
	const subscriber = 64
	return within(address, subscriber)
}

// site is what the network of an address is in: one that may have any number of networks, or itself.
func site(address string) string {
	const provider = 48
	return within(address, provider)
}

// within is what an address is known by of which so many bits count, of IPv6; where it is private 64 do: all of a
// company may have the same 48.
func within(address string, bits int) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	if ip.IsPrivate() {
		bits = max(bits, 64)
	}
	whole, _ := ip.Prefix(bits)
	return whole.String()
}
