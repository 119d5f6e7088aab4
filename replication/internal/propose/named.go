package propose

// These stand in the place of a number of regions, and are for the primary's leader to count: which regions there are
// it knows first. They travel as one byte. A leader of an earlier version takes them for more regions than a fleet has,
// and refuses.
const (
	QuorumOfRegions = 254
	AllRegions      = 255
)

// asked returns in how many regions u is to be, in a fleet of so many.
func (u *proposal) asked(regions func() int) int {
	switch u.regions {
	case AllRegions:
		return regions()
	case QuorumOfRegions:
		return regions()/2 + 1
	}
	return u.regions
}

// tooMany reports whether u is to be in a number of regions that there are not.
func (u *proposal) tooMany(regions func() int) bool {
	return u.regions > 1 && u.regions < QuorumOfRegions && u.regions > regions()
}
