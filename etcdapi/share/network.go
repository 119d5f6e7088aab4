package share

import (
	"net"
	"net/netip"
)

// How many bits an address of IPv6 has of the network of a subscriber, and of what a provider gives to one site.
const subscriber, provider = 64, 48

// Network is what an address is known by: a host, or the network of one that may have any number of addresses.
func Network(address string) string {
	_, network := names(address)
	return network
}

// names are what an address is known by, and what that is in: a site that may have any number of networks, or itself.
// All of a company may have the same 48 bits where they are private.
func names(address string) (site, network string) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host, host
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		network = ip.String()
		return network, network
	}
	of, _ := ip.Prefix(subscriber)
	network = of.String()
	if ip.IsPrivate() {
		return network, network
	}
	of, _ = ip.Prefix(provider)
	return of.String(), network
}
