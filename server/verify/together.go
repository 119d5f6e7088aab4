package verify

import (
	"context"
	"errors"
	"slices"
)

// ErrAlone says that there are no two nodes that can be compared with each other.
var ErrAlone = errors.New("there are no two nodes to compare")

// Together compares those of nodes who stand where they can be compared, at the newest revision that all of them have;
// o says of which range. Who cannot be is missing in the result, and who has no standing is left out. Errors: ErrAlone,
// and those of Compare but ErrElsewhere. The result says what was found until then.
func Together(ctx context.Context, nodes []Node, standings []Standing, o Options) (*Result, error) {
	var missing []Missing
	for {
		var behind []Missing
		o.Revision, o.Compact, behind = Agree(standings)
		missing = append(missing, behind...)
		standings = without(standings, behind)
		if len(standings) < 2 {
			return &Result{Revision: o.Revision, Compact: o.Compact, Reached: o.From, Missing: missing}, ErrAlone
		}
		result, err := Compare(ctx, standing(nodes, standings), o)
		if !errors.Is(err, ErrElsewhere) {
			result.Missing = append(missing, result.Missing...)
			return result, err
		}
		parted := Parted(standings, o.Revision)
		missing = append(missing, parted...)
		standings = without(standings, parted)
	}
}

// without leaves out those who are missing.
func without(standings []Standing, missing []Missing) []Standing {
	return slices.DeleteFunc(slices.Clone(standings), func(s Standing) bool {
		return slices.ContainsFunc(missing, func(m Missing) bool { return m.Node == s.Name })
	})
}

// standing returns the nodes that stand.
func standing(nodes []Node, standings []Standing) []Node {
	return slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool {
		return !slices.ContainsFunc(standings, func(s Standing) bool { return s.Name == n.Name })
	})
}
