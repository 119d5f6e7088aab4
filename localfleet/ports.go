package localfleet

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
)

// Ports lie below the range from which systems choose by themselves, so that they stay free while nobody listens. They
// come in slots of slotPorts; who listens on the last port of a slot has all of it.
const (
	lowestPort  = 10_000
	highestPort = 30_000
	slotPorts   = 10
)

// unsafePorts are those from 1024 on at which no browser opens a page, by the list of "bad ports" in the Fetch standard
// (fetch.spec.whatwg.org): a console there could not be looked at.
var unsafePorts = []int{
	1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10_080,
}

// MaxPorts is how many ports Next hands out at once, at most.
const MaxPorts = slotPorts - 1

// Ports hands out addresses of 127.0.0.1 on which nobody listens, that nobody else gets from Ports until Close, and at
// which browsers open pages. Its methods are not for concurrent use.
type Ports struct {
	next   int
	claims []net.Listener
}

// AnyPorts hands out ports from somewhere. The caller closes it.
func AnyPorts() *Ports {
	const slots = (highestPort - lowestPort) / slotPorts
	return PortsFrom(lowestPort + slotPorts*rand.IntN(slots*3/4)) // at least a quarter of them lies ahead
}

// PortsFrom hands out first and the ports above it, then those that begin 10 higher, and so on, but for ports that are
// taken. The caller closes it.
func PortsFrom(first int) *Ports { return &Ports{next: first} }

// Next returns addresses with successive ports.
func (p *Ports) Next(count int) ([]string, error) {
	for p.next+slotPorts <= highestPort {
		first := p.next
		p.next += slotPorts
		claim, err := net.Listen("tcp", local(first+MaxPorts))
		if err != nil {
			continue
		}
		if addrs := free(first, count); addrs != nil {
			p.claims = append(p.claims, claim)
			return addrs, nil
		}
		claim.Close()
	}
	return nil, errors.New("no free ports on 127.0.0.1")
}

// Close gives all ports back.
func (p *Ports) Close() {
	for _, l := range p.claims {
		l.Close()
	}
	p.claims = nil
}

// free returns the addresses from a port on, nil if any of them is taken, or is none for browsers.
func free(first, count int) []string {
	var addrs []string
	for port := first; port < first+count; port++ {
		if slices.Contains(unsafePorts, port) {
			return nil
		}
		l, err := net.Listen("tcp", local(port))
		if err != nil {
			return nil
		}
		l.Close()
		addrs = append(addrs, local(port))
	}
	return addrs
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
