package archive

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// through reports whether what links lead to a place by goes through another one, by the chain that the history has
// there. known is false if it is not archived whole.
func through(
	ctx context.Context, s store.Store, links []Link, end Place, at timeline.Cursor,
) (is, known bool, err error) {
	for {
		path, from, ok := Path(links, end, PlaceOf(at))
		switch {
		case !ok:
			return false, false, nil
		case len(path) == 0 || from == PlaceOf(at):
			return from == PlaceOf(at), true, nil
		}
		segment, err := fetch(ctx, s, path[0])
		if isBroken(err) { // others may hold the same
			links = slices.DeleteFunc(slices.Clone(links), func(l Link) bool { return l == path[0] })
			continue
		}
		if err != nil {
			return false, false, err
		}
		return segment.through(at), true, nil
	}
}

// through reports whether the entries, which are whole, go through a place, or end there.
func (s *Segment) through(at timeline.Cursor) bool {
	w, folder := newWalk(s.From), timeline.NewFolder()
	for _, p := range s.Payloads {
		before := w.at
		f, _, err := w.next(p)
		switch {
		case err != nil:
			return false
		case w.at == at:
			return true
		case w.at.Position <= at.Position:
			continue
		case f == nil || before.Epoch != at.Epoch || before.Position >= at.Position:
			return false
		}
		chain := before.Chain
		for _, c := range f.Commands[:at.Position-before.Position] {
			chain = folder.Command(chain, c.Data)
		}
		return chain == at.Chain
	}
	return false
}

// leadsFrom reports whether the branch leads on from a place of a history, or is known to come to it. known is false if
// it is not archived so far back, and reaches is how far.
func (b *Branch) leadsFrom(
	ctx context.Context, s store.Store, links []Link, from timeline.Origin,
) (is, known bool, err error) {
	if b.Link.To.compare(PlaceOf(from.Cursor)) < 0 { // what leads to it is still to be archived
		relation, _ := timeline.Compare(b.Origin.Reigns, from.Reigns, b.Origin.Cursor.Position, from.Cursor.Position)
		return relation == timeline.Prefix && timeline.Agreeing(b.Origin, from) != timeline.Differ, true, nil
	}
	return through(ctx, s, links, b.Link.To, from.Cursor)
}

// LeadsOn returns an error if the branch does not lead on from the place of a snapshot: ErrMissing, or one of the
// store.
func (b *Branch) LeadsOn(ctx context.Context, s store.Store, links []Link, from timeline.Origin) error {
	is, known, err := b.leadsFrom(ctx, s, links, from)
	switch {
	case err != nil:
		return err
	case !known:
		_, reaches, _ := Path(links, b.Link.To, PlaceOf(from.Cursor))
		return fmt.Errorf("%w: the branch reaches back to position %d, and the snapshot is of %d", ErrMissing,
			reaches.Position, from.Cursor.Position)
	case !is:
		return errAstray(from.Cursor)
	}
	return nil
}

// LeadOn returns an error, that of the first one, if none of the branches leads on from the place of a snapshot.
func LeadOn(ctx context.Context, s store.Store, links []Link, branches []Branch, from timeline.Origin) (first error) {
	for i := range branches {
		err := branches[i].LeadsOn(ctx, s, links, from)
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// errAstray says that a snapshot is of another history than that of the branch.
func errAstray(at timeline.Cursor) error {
	return fmt.Errorf("%w: the snapshot, at position %d of epoch %d with chain %v, is not on this branch: it is of "+
		"what was given up, or of another fleet; take another snapshot, or another branch", ErrMissing, at.Position,
		at.Epoch, at.Chain)
}
