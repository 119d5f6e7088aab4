package verify

import (
	"fmt"
	"slices"
)

// Standing is what of a node says at which revision it can be compared.
type Standing struct {
	Name              string
	Revision, Compact int64
	Position          uint64 // of the history
	// History tells the history that the node has from those of other beginnings; "": a version before does not say it.
	History string `json:",omitempty"`
}

// Parted returns who stands at a revision that is no part of the history of the others, and why he is not compared.
func Parted(nodes []Standing, revision int64) (missing []Missing) {
	for _, n := range nodes {
		if n.Revision == revision {
			missing = append(missing, Missing{n.Name, fmt.Sprintf("it shows revision %d, which is no part of the "+
				"history of other nodes: it has an end that a failover cut off", revision)})
		}
	}
	return missing
}

// Agree returns the revision and the compaction at which nodes can be compared: the newest that all have, behind all
// that any of them has compacted. Those that are so far behind that others have compacted it are missing.
func Agree(nodes []Standing) (revision, compact int64, missing []Missing) {
	for _, n := range nodes {
		compact = max(compact, n.Compact)
	}
	for _, n := range nodes {
		switch {
		case n.Revision < compact:
			missing = append(missing, Missing{n.Name, fmt.Sprintf(
				"it shows revision %d, and another node has compacted up to %d", n.Revision, compact)})
		case revision == 0 || n.Revision < revision:
			revision = n.Revision
		}
	}
	return revision, compact, missing
}

// Cohorts returns those who can be compared with one another, as Agree says, and after them those who cannot be
// compared with those before and can be with each other, and so on. Of who is alone there is a cohort too.
func Cohorts(nodes []Standing) (cohorts [][]Standing) {
	for len(nodes) > 0 {
		_, _, missing := Agree(nodes)
		var with, without []Standing
		for _, n := range nodes {
			if slices.ContainsFunc(missing, func(m Missing) bool { return m.Node == n.Name }) {
				without = append(without, n)
			} else {
				with = append(with, n)
			}
		}
		cohorts = append(cohorts, with)
		nodes = without
	}
	return cohorts
}
