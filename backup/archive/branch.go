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

// Broken is a segment that ends no branch, since it is not whole.
type Broken struct {
	Link Link
	Err  error
}

// Branches returns the branches that links are of, that in force first: the one of which the last reign has the highest
// claim, as every region would see it that hears of all of them. A segment that is broken ends no branch: broken are
// those that were passed by.
func Branches(ctx context.Context, s store.Store, links []Link) (branches []Branch, broken []Broken, err error) {
	for {
		var bad []Link
		branches = nil
		for _, l := range Ends(links) {
			segment, err := fetch(ctx, s, l)
			if isBroken(err) {
				bad, broken = append(bad, l), append(broken, Broken{l, err})
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			branches = append(branches, Branch{Link: l, Fleet: segment.Fleet, Origin: segment.To, Last: segment.Last()})
		}
		if len(bad) == 0 {
			branches, err = inForceFirst(ctx, s, links, branches)
			return branches, broken, err
		}
		links = slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return slices.Contains(bad, l) })
	}
}

// inForceFirst sorts branches, and leaves out the ends that others go on from, as two nodes make that archive at once.
func inForceFirst(ctx context.Context, s store.Store, links []Link, branches []Branch) (own []Branch, err error) {
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
	for _, b := range branches {
		within := false
		for i := 0; i < len(own) && !within; i++ {
			if within, err = b.within(ctx, s, links, &own[i]); err != nil {
				return nil, err
			}
		}
		if !within {
			own = append(own, b)
		}
	}
	return own, nil
}

// within reports whether o goes on from the end of b: as reigns tell, which may be equal though what was written in
// them is not, and the chain too as far as it is archived.
func (b *Branch) within(ctx context.Context, s store.Store, links []Link, o *Branch) (bool, error) {
	x, y := &b.Origin, &o.Origin
	relation, _ := timeline.Compare(x.Reigns, y.Reigns, x.Cursor.Position, y.Cursor.Position)
	if relation != timeline.Prefix || timeline.Agreeing(*x, *y) == timeline.Differ {
		return false, nil
	}
	is, known, err := through(ctx, s, links, o.Link.To, x.Cursor)
	return is || !known, err
}

// Apart reports whether no failover gave up b for o: they have no reign in common, since the fleet was formed anew
// under its name, or the same last one, of which a disk that went back has written another end.
func (b *Branch) Apart(o *Branch) bool {
	x, y := b.Origin.Reigns, o.Origin.Reigns
	return len(x) == 0 || len(y) == 0 || x[0] != y[0] || timeline.Latest(x) == timeline.Latest(y)
}

// Choose returns the branches of this epoch, or the one in force if it is zero. Of one epoch there are several if two
// regions were forced in it, or the fleet was formed anew: which is meant a snapshot says.
func Choose(branches []Branch, broken []Broken, epoch timeline.Epoch) (chosen []Branch, err error) {
	if epoch == 0 && len(branches) > 0 {
		for _, b := range broken {
			if b.Link.To.Epoch > branches[0].Epoch() {
				return nil, fmt.Errorf("which branch is in force is not known, since what is archived of epoch %d "+
					"cannot be read; name a branch by its epoch: %w", b.Link.To.Epoch, b.Err)
			}
		}
		return branches[:1], nil
	}
	for _, b := range branches {
		if b.Epoch() == epoch {
			chosen = append(chosen, b)
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	if len(branches) == 0 {
		return nil, fmt.Errorf("%w: there is no segment of a log", ErrMissing)
	}
	names := make([]timeline.Epoch, 0, len(branches))
	for _, b := range branches {
		names = append(names, b.Epoch())
	}
	return nil, fmt.Errorf("%w: no branch ends in epoch %d; there are %v", ErrMissing, epoch, names)
}
