package keyset

import "fmt"

// valid checks K1 to K3, and that the bytes are what they should be.
func (x *Index) valid() error {
	bytes, last, unknowns := 0, "", 0
	for i, g := range x.groups {
		if len(g.blocks) == 0 {
			return fmt.Errorf("group %d is empty", i)
		}
		if g.since != unknown {
			bytes += g.series.bytes()
		}
		var sum int64
		known := true
		for k, b := range g.blocks {
			if first := i == 0 && k == 0; first && b.from != "" || !first && b.from <= last {
				return fmt.Errorf("a block from %q on is behind one from %q on", b.from, last)
			}
			last = b.from
			bytes += b.size()
			if b.newest > g.newest || b.made > g.made || b.valid > g.valid {
				return fmt.Errorf("block %q is bound by %v, its group by %v", b.from, b.bound, g.bound)
			}
			if !b.known() {
				known = false
				unknowns++
			}
			sum += b.count
		}
		switch {
		case g.since == unknown && len(g.blocks) > 1:
			return fmt.Errorf("group %d of %d blocks is unknown", i, len(g.blocks))
		case known && g.since != unknown && sum != g.count:
			return fmt.Errorf("group %d counts %d, its blocks %d", i, g.count, sum)
		}
	}
	if unknowns != x.unknown {
		return fmt.Errorf("%d blocks are unknown, of %d that it says", unknowns, x.unknown)
	}
	if bytes != x.bytes {
		return fmt.Errorf("%d bytes are taken for %d", bytes, x.bytes)
	}
	return nil
}
