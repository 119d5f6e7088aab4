package timeline

import (
	"fmt"
	"strings"
)

// Sourced returns what the primary by of the epoch e writes to have a region follow source, "" for the primary.
func (r *Roster) Sourced(e Epoch, by, region, source string) *Roster {
	next := r.next(e, by)
	if h := next.Home(region); h != nil {
		h.Source = source
	}
	return next
}

// SourceOf returns the region that one is to follow while that is well, "" for the primary. The roster may be nil.
func (r *Roster) SourceOf(region string) string {
	if h := r.Home(region); h != nil {
		return h.Source
	}
	return ""
}

// circular returns what is wrong with whom regions are to follow, "" if each comes to the primary by it: nobody follows
// himself, also through others, or a region that is not there.
func (r *Roster) circular() string {
	for i := range r.Regions {
		way := []string{r.Regions[i].Name}
		for at := r.Regions[i].Source; at != ""; at = r.SourceOf(at) {
			way = append(way, at)
			switch {
			case r.Home(at) == nil:
				return fmt.Sprintf("region %s is to follow %q, which is not in it", way[len(way)-2], at)
			case at == way[0] || len(way) > len(r.Regions):
				return "regions are to follow each other: " + strings.Join(way, " follows ")
			}
		}
	}
	return ""
}
