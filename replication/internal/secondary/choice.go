package secondary

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	// maxLag is how late a region may be, in seconds, by which another is to follow; twice that while it does.
	maxLag = 10.0
	// later is how much later than this region another may be, in seconds, to be gone to: this one stands still until
	// that has what it has itself, for stream's catchUp at most.
	later = 2.0
	// patience is for how long the region that is followed may be unwell, or the primary silent.
	patience = 2 * time.Second
	// steady is for how long a region that was left has to be well before it is gone back to.
	steady = 10 * time.Second
)

// sight is what is seen of a region by which this one could follow: what its leader said last.
type sight struct {
	answers bool    // it hears a majority
	alike   bool    // it has the history of the primary, as far as reigns tell
	current bool    // it follows, and said lately where the primary is
	lag     float64 // seconds
	by      string  // the region by which it follows itself, "" for the primary
}

// outlook is what a choice is made by. The primary is called "" in it.
type outlook struct {
	wanted  string  // by the roster
	direct  bool    // the leader of the primary answers
	served  bool    // the stream from the primary is up, and it said lately where it is
	handed  bool    // the primary is being moved to this region
	late    float64 // seconds that this region is, by whomever it follows; negative: not known
	regions map[string]sight
}

// choice is by whom this region follows the primary: by the one that it is to while that is well, else the primary
// itself, else, while that does not answer, any other. Nobody is followed who follows this region. It decides by what
// it is told, and is not safe for concurrent use.
type choice struct {
	now   string
	since map[string]time.Time // from when on a region, or the primary, is well
	ill   map[string]time.Time // from when on it is not
	left  map[string]time.Time // when it was left because of that
}

func newChoice() *choice {
	return &choice{since: map[string]time.Time{}, ill: map[string]time.Time{}, left: map[string]time.Time{}}
}

// leads reports whether one who follows a region comes to the primary, and not back to this region.
func (o *outlook) leads(region string) bool {
	for range len(o.regions) + 1 {
		if region == "" {
			return true
		}
		s, known := o.regions[region]
		if !known { // nor is this region itself
			return false
		}
		region = s.by
	}
	return false
}

// well reports whether a region can be followed that is late by lag at most.
func (o *outlook) well(region string, lag float64) bool {
	if region == "" {
		return o.direct
	}
	s := o.regions[region]
	return s.answers && s.alike && s.current && s.lag >= 0 && s.lag <= lag && o.leads(region)
}

// near reports whether a region is hardly later than this one, as far as that is known.
func (o *outlook) near(region string) bool {
	return o.late < 0 || o.regions[region].lag <= o.late+later
}

// next returns by whom to follow from now on, "" for the primary itself, and why, if that is another one than before.
func (c *choice) next(now time.Time, o *outlook) (to, why string) {
	c.watch(now, o)
	before := c.now
	c.now, why = c.decide(now, o)
	if c.now == before {
		return c.now, ""
	}
	if _, ill := c.ill[before]; ill {
		c.left[before] = now
	}
	return c.now, why
}

// watch notes since when each is well, or is not.
func (c *choice) watch(now time.Time, o *outlook) {
	for _, region := range append(slices.Collect(maps.Keys(o.regions)), "") {
		lag := maxLag
		if region == c.now {
			lag *= 2
		}
		is, not := c.since, c.ill
		if !o.well(region, lag) {
			is, not = c.ill, c.since
		}
		delete(not, region)
		if _, noted := is[region]; !noted {
			is[region] = now
		}
	}
	for _, times := range []map[string]time.Time{c.since, c.ill, c.left} {
		maps.DeleteFunc(times, func(region string, _ time.Time) bool {
			_, is := o.regions[region]
			return !is && region != ""
		})
	}
}

func (c *choice) decide(now time.Time, o *outlook) (to, why string) {
	switch {
	case o.handed:
		return "", "the primary is being moved here"
	case o.wanted != "" && o.wanted != c.now && o.near(o.wanted) && c.ready(now, o.wanted):
		return o.wanted, "it is to"
	case c.now == "" && (o.served || !c.illFor(now, "")):
		return "", ""
	case c.now == "":
		return c.another(now, o), "the primary does not answer"
	}
	if _, known := o.regions[c.now]; !known || !o.leads(c.now) {
		return "", c.now + " is gone, or does not lead to the primary"
	}
	switch another := c.another(now, o); {
	case c.now == o.wanted && !c.illFor(now, c.now):
		return c.now, ""
	case c.ready(now, ""):
		return "", "the primary answers"
	case !c.illFor(now, c.now):
		return c.now, ""
	case o.direct:
		return "", c.now + " is not well"
	case another != "":
		return another, c.now + " is not well"
	default:
		return c.now, "" // nobody is better
	}
}

// ready reports whether a region, or the primary, can be gone to: it is well, and if it was left has been for a while.
func (c *choice) ready(now time.Time, region string) bool {
	since, well := c.since[region]
	left, was := c.left[region]
	return well && (!was || now.Sub(since) >= steady && now.Sub(left) >= steady)
}

// illFor reports whether a region, or the primary, has been unwell for long.
func (c *choice) illFor(now time.Time, region string) bool {
	since, ill := c.ill[region]
	return ill && now.Sub(since) >= patience
}

// another returns the region that can be gone to and is the least late, "" if there is none.
func (c *choice) another(now time.Time, o *outlook) string {
	var ready []string
	for region := range o.regions {
		if region != c.now && o.near(region) && c.ready(now, region) {
			ready = append(ready, region)
		}
	}
	if len(ready) == 0 {
		return ""
	}
	return slices.MinFunc(ready, func(a, b string) int {
		return cmp.Or(cmp.Compare(o.regions[a].lag, o.regions[b].lag), cmp.Compare(a, b))
	})
}

// missed notes that nobody served by a region.
func (c *choice) missed(now time.Time, region string) {
	if c.now == region {
		c.now = ""
	}
	c.left[region] = now
}
