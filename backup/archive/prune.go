package archive

import (
	"context"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Unneeded returns the links without which every snapshot of this position or a later one is brought forward as before,
// on whichever branch it is: a path from a snapshot has no segment that ends before it. In order of where they begin,
// so that whoever is cut short as he lets go of them leaves no gap. Where a branch ends, the last one stays: behind it
// whoever archives goes on, and by it is told what was given up.
func Unneeded(links []Link, oldest timeline.Position) (unneeded []Link) {
	goesOn := make(map[Place]bool, len(links))
	for _, l := range links {
		goesOn[l.From] = true
	}
	for _, l := range links {
		if l.To.Position < oldest && goesOn[l.To] {
			unneeded = append(unneeded, l)
		}
	}
	slices.SortFunc(unneeded, func(a, b Link) int { return a.From.compare(b.From) })
	return unneeded
}

// Prune lets go of what no snapshot of this position or a later one needs, and returns how many segments that were. It
// may be done while others archive, and by several at a time.
func Prune(ctx context.Context, s store.Store, oldest timeline.Position) (gone int, err error) {
	links, err := list(ctx, s)
	if err != nil {
		return 0, err
	}
	for _, l := range Unneeded(links, oldest) {
		if err := ctx.Err(); err != nil {
			return gone, err
		}
		bounded, cancel := context.WithTimeout(ctx, callTimeout)
		err := s.Delete(bounded, l.Name())
		cancel()
		if err != nil {
			return gone, fmt.Errorf("%d segments are gone that no snapshot needs, and this one stays: %w", gone, err)
		}
		gone++
	}
	return gone, nil
}
