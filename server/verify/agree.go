package verify

import "fmt"

// Standing is what of a node says at which revision it can be compared.
type Standing struct {
	Name              string
	Revision, Compact int64
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
