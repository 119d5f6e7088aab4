package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Branch is a history that is archived, up to where it ends.
type Branch struct {
	Link   Link // the last segment
	Fleet  string
	Origin timeline.Origin // the end
	Last   Mark
}

// Epoch is by what a branch is named: the last one that began in it.
func (b *Branch) Epoch() timeline.Epoch { return b.Origin.Cursor.Epoch }

// Links returns what a store holds of histories.
func Links(ctx context.Context, s store.Store) ([]Link, error) { return list(ctx, s) }

// Branches returns the branches that links are of, that in force first: the one of which the last reign has the highest
// claim, as every region would see it that hears of all of them. A segment that is broken ends no branch: broken are
// those that were passed by.
func Branches(ctx context.Context, s store.Store, links []Link) (branches []Branch, broken []error, err error) {
	for {
		var bad []Link
		branches = nil
		for _, l := range Ends(links) {
			segment, err := fetch(ctx, s, l)
			if isBroken(err) {
				bad, broken = append(bad, l), append(broken, err)
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			branches = append(branches, Branch{Link: l, Fleet: segment.Fleet, Origin: segment.To, Last: segment.Last()})
		}
		if len(bad) == 0 {
			return inForceFirst(branches), broken, nil
		}
		links = slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return slices.Contains(bad, l) })
	}
}

// inForceFirst sorts branches, and leaves out the ends that others go on from, as two nodes make that archive at once.
func inForceFirst(branches []Branch) []Branch {
	slices.SortStableFunc(branches, func(a, b Branch) int {
		x, y := timeline.Latest(a.Origin.Reigns), timeline.Latest(b.Origin.Reigns)
		switch {
		case timeline.Supersedes(x, y):
			return -1
		case timeline.Supersedes(y, x):
			return 1
		default:
			return b.Link.To.compare(a.Link.To)
		}
	})
	var own []Branch
	for _, b := range branches {
		if !slices.ContainsFunc(own, func(o Branch) bool { return b.within(&o) }) {
			own = append(own, b)
		}
	}
	return own
}

// within reports whether o goes on from the end of b, as far as reigns tell.
func (b *Branch) within(o *Branch) bool {
	x, y := &b.Origin, &o.Origin
	relation, _ := timeline.Compare(x.Reigns, y.Reigns, x.Cursor.Position, y.Cursor.Position)
	return relation == timeline.Prefix && timeline.Agreeing(*x, *y) != timeline.Differ
}

// Choose returns the branch of this epoch, or the one in force if it is zero.
func Choose(branches []Branch, epoch timeline.Epoch) (Branch, error) {
	for _, b := range branches {
		if epoch == 0 || b.Epoch() == epoch {
			return b, nil
		}
	}
	if len(branches) == 0 {
		return Branch{}, fmt.Errorf("%w: there is no segment of a log", ErrMissing)
	}
	names := make([]timeline.Epoch, 0, len(branches))
	for _, b := range branches {
		names = append(names, b.Epoch())
	}
	return Branch{}, fmt.Errorf("%w: no branch ends in epoch %d; there are %v", ErrMissing, epoch, names)
}
