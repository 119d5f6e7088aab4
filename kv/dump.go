package kv

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Dumped is what is told of a store's content: all that can be read or watched at a revision that is not compacted.
type Dumped struct {
	Revision, Compact int64
	Leases            lease.Set
	Auth              *auth.State
}

// Dump calls visit with every change of s, which nobody else uses, in order: up to the compaction what is left of it,
// and behind it all. Both are valid during the call. In memory it has the keys that existed at the compaction.
func Dump(ctx context.Context, s *Store, visit func(key []byte, v *mvcc.Version) error) (Dumped, error) {
	g, err := s.acquire()
	if err != nil {
		return Dumped{}, err
	}
	defer g.release()
	now := g.now.Load()
	d := Dumped{Revision: now.Revision, Compact: now.Compact, Auth: now.auth}
	if d.Leases, err = lease.Load(g.db); err == nil {
		err = dumpCompacted(ctx, g, now.Compact, visit)
	}
	if err == nil {
		err = dumpHistory(ctx, g, now.State, visit)
	}
	if err != nil {
		return Dumped{}, fmt.Errorf("kv: dump: %w", err)
	}
	return d, nil
}

// dumpCompacted visits the newest change of each key up to the compaction, if the key existed then.
func dumpCompacted(ctx context.Context, g *generation, at int64, visit func([]byte, *mvcc.Version) error) error {
	if at < mvcc.FirstRevision {
		return nil
	}
	r, err := mvcc.NewReader(g.db)
	if err != nil {
		return err
	}
	type found struct {
		mvcc.Stamp
		key string
	}
	var all []found
	_, err = r.Scan(ctx, command.Span{End: []byte{}}, at, mvcc.NoLimit, func(key []byte, v *mvcc.Version) error {
		all = append(all, found{v.Stamp, string(key)})
		return nil
	})
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(cmp.Compare(a.Main, b.Main), cmp.Compare(a.Sub, b.Sub)) })
	for i := 0; i < len(all) && err == nil; i++ {
		var v mvcc.Version
		if v, err = r.Newest([]byte(all[i].key), at); err == nil {
			err = visit([]byte(all[i].key), &v)
		}
		err = cmp.Or(err, ctx.Err())
	}
	return cmp.Or(err, r.Close())
}

// dumpHistory visits every change behind the compaction.
func dumpHistory(
	ctx context.Context, g *generation, s *mvcc.State, visit func([]byte, *mvcc.Version) error,
) error {
	h, err := mvcc.OpenHistory(g.db, max(s.Compact, 0)+1, s.Revision)
	if err != nil {
		return err
	}
	for ok := h.First(); ok && err == nil; ok = h.Next() {
		var key []byte
		var at mvcc.Stamp
		if key, at, err = h.Change(); err != nil {
			break
		}
		var v mvcc.Version
		if v, err = h.Version(key, at); err == nil {
			err = cmp.Or(visit(key, &v), ctx.Err())
		}
	}
	return cmp.Or(err, h.Err(), h.Close())
}
