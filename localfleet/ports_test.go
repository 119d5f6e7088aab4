package localfleet

import (
	"net"
	"slices"
	"testing"
)

func TestPortsAreGivenOnce(t *testing.T) {
	first := AnyPorts()
	defer first.Close()
	one, err := first.Next(3)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", local(first.next+1)) // in the middle of the next slot
	if err != nil {
		t.Skipf("somebody else listens: %v", err)
	}
	defer taken.Close()
	start := first.next - slotPorts
	second := PortsFrom(start) // as another program may
	defer second.Close()
	two, err := second.Next(3)
	if err != nil {
		t.Fatal(err)
	}
	three, err := first.Next(MaxPorts)
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(one, two, three)
	slices.Sort(all)
	if len(slices.Compact(all)) != 6+MaxPorts || slices.Contains(all, taken.Addr().String()) {
		t.Errorf("got %v, %v and %v with %s taken", one, two, three, taken.Addr())
	}
	first.Close()
	again := PortsFrom(start)
	defer again.Close()
	if back, err := again.Next(3); err != nil || !slices.Equal(back, one) {
		t.Errorf("got %v, %v instead of %v, which was given back", back, err, one)
	}
}

// A browser opens no page at some ports: a fleet has none of them, whatever it is asked to begin with.
func TestPortsAreThoseOfPages(t *testing.T) {
	for _, unsafe := range unsafePorts {
		for _, start := range []int{unsafe, unsafe - 1, unsafe - slotPorts + 1} {
			p := PortsFrom(start)
			addrs, err := p.Next(3)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(addrs, local(unsafe)) {
				t.Errorf("from %d on: %v", start, addrs)
			}
			p.Close()
		}
	}
}
