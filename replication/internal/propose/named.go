package propose

import (
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
)

// These travel in the place of a number of regions, which is one byte, and are for the primary's leader to count: which
// regions there are it knows first. A leader of an earlier version takes them for more regions than a fleet has, and
// refuses.
const (
	quorumOfRegions = 254
	allRegions      = 255
)

// MaxRegions is the greatest number of regions that a write can ask for.
const MaxRegions = quorumOfRegions - 1

// Named are regions that the primary's leader counts.
type Named uint8

// What can be named; the zero Named is no name, so that a number counts.
const (
	QuorumOfRegions Named = iota + 1
	AllRegions
)

// number returns what travels for the regions that o asks for.
func (o *Options) number() (int, error) {
	switch {
	case o.Named == QuorumOfRegions:
		return quorumOfRegions, nil
	case o.Named == AllRegions:
		return allRegions, nil
	case o.Regions < 0 || o.Regions > MaxRegions:
		return 0, fmt.Errorf("%w: durable in %d regions, at most %d can be asked for", contract.ErrArgument, o.Regions,
			MaxRegions)
	}
	return o.Regions, nil
}

// asked returns in how many regions u is to be, in a fleet of so many.
func (u *proposal) asked(regions func() int) int {
	switch u.regions {
	case allRegions:
		return regions()
	case quorumOfRegions:
		return regions()/2 + 1
	}
	return u.regions
}

// tooMany reports whether u is to be in a number of regions that there are not.
func (u *proposal) tooMany(regions func() int) bool {
	return u.regions > 1 && u.regions <= MaxRegions && u.regions > regions()
}
