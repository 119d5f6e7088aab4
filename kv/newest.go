package kv

import (
	"container/heap"
	"context"
	"errors"
	"math"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/keyset"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

const (
	// firstReach is how many revisions back it is looked first for what changed last, and reachGrows how many times as
	// many with each further look.
	firstReach = 8
	reachGrows = 4
)

// newestFirst reports whether r asks for some of many keys, those first that were changed, or made, last.
func newestFirst(r *pb.RangeRequest) bool {
	return r.SortOrder == pb.RangeRequest_DESCEND && r.Limit > 0 && r.Limit < math.MaxInt64 &&
		(r.SortTarget == pb.RangeRequest_MOD || r.SortTarget == pb.RangeRequest_CREATE)
}

// newest visits what finishRange makes the answer of to r, of which newestFirst is so: of the count keys of sp the
// limit and one that are newest, and those that are as new as the last of them. It looks further and further back until
// there are so many, and holds nothing of a key but its revision until it knows which they are, beside the keys that
// have changes as new as it looks back, which filtered may keep. What was made last may lie behind any number of
// changes, though: beyond the last few it is looked for where it was made, too, as long as that is no more to read.
func (v view) newest(
	ctx context.Context, r *pb.RangeRequest, sp command.Span, rev, count int64, visit mvcc.Visitor,
) error {
	least, top := max(v.state.Compact, mvcc.FirstRevision), latest(r, rev)
	for reach := int64(firstReach); ; reach *= reachGrows {
		floor := v.state.Back(top, reach)
		all := floor <= least || v.state.Between(floor, rev) > count
		if v.byBirth(r) && (all || reach > reachGrows*(r.Limit+1)) {
			most := reach
			if all {
				most = count / 2
			}
			if done, err := v.madeLast(ctx, r, sp, rev, count, most, visit); done || err != nil {
				return err
			}
		}
		if all {
			floor = 0
		}
		found := newestRevisions{most: r.Limit + 1}
		err := v.filtered(ctx, since(r, floor), sp, rev, count, mvcc.NoLimit,
			func(_ []byte, ver *mvcc.Version) error {
				found.add(newness(r, ver))
				return nil
			})
		if err != nil {
			return err
		}
		if found.enough() {
			floor, all = found.all[0], true
		}
		if all {
			return v.filtered(ctx, since(r, floor), sp, rev, count, mvcc.NoLimit, visit)
		}
	}
}

// byBirth reports whether what r asks for can be found where keys were made. What a run has not committed is in no
// index, and each look of a run makes a reader of its own.
func (v view) byBirth(r *pb.RangeRequest) bool {
	return r.SortTarget == pb.RangeRequest_CREATE && r.MinModRevision <= 0 && v.own == nil
}

// partCost is what a part of the keys costs beside them, in keys.
const partCost = 8

// madeLast is newest where r sorts by when keys were made. It reads the parts of sp in which keys were made last, as
// many as may have one of those that are asked for, and keeps the places of others, no more than there are blocks. If
// it has to read more than about most keys it visits none, and is not done.
func (v view) madeLast(
	ctx context.Context, r *pb.RangeRequest, sp command.Span, rev, count, most int64, visit mvcc.Visitor,
) (done bool, err error) {
	found := newestRevisions{most: r.Limit + 1}
	wanted := filtering(r, mvcc.NoLimit, func(_ []byte, ver *mvcc.Version) error {
		found.add(ver.Create)
		return nil
	})
	look := func(key []byte, ver *mvcc.Version) error {
		if most--; most < 0 {
			return errEnough
		}
		return wanted(key, ver)
	}
	floor := max(r.MinCreateRevision, 1) - 1
	parts := madeParts(v.keys.Made(intervalOf(sp), rev))
	heap.Init(&parts)
	for len(parts) > 0 && parts[0].Made > floor {
		part := heap.Pop(&parts).(keyset.Part)
		if !part.Block {
			for _, within := range v.keys.Made(part.Interval, rev) {
				heap.Push(&parts, within)
			}
			continue
		}
		if most -= partCost; most < 0 {
			return false, nil
		}
		_, err := v.Scan(ctx, spanOf(part.Interval), rev, mvcc.NoLimit, look)
		if err == nil {
			err = ctx.Err() // a part may be too small for a scan to look
		}
		switch {
		case errors.Is(err, errEnough):
			return false, nil
		case err != nil:
			return false, err
		}
		if found.enough() {
			floor = found.all[0]
		}
	}
	young := since(r, floor)
	return true, v.young(ctx, young, sp, rev, count, filtering(young, mvcc.NoLimit, visit))
}

// newness is what r sorts by.
func newness(r *pb.RangeRequest, ver *mvcc.Version) int64 {
	if r.SortTarget == pb.RangeRequest_CREATE {
		return ver.Create
	}
	return ver.Main
}

// latest is the highest revision by which r can sort a key.
func latest(r *pb.RangeRequest, rev int64) int64 {
	most := r.MaxModRevision
	if r.SortTarget == pb.RangeRequest_CREATE && r.MaxCreateRevision > 0 {
		most = r.MaxCreateRevision
	}
	if most > 0 {
		return min(rev, most)
	}
	return rev
}

// since returns r for what is as new as floor alone, by what it sorts by.
func since(r *pb.RangeRequest, floor int64) *pb.RangeRequest {
	s := &pb.RangeRequest{
		MinModRevision: r.MinModRevision, MaxModRevision: r.MaxModRevision,
		MinCreateRevision: r.MinCreateRevision, MaxCreateRevision: r.MaxCreateRevision,
	}
	if r.SortTarget == pb.RangeRequest_CREATE {
		s.MinCreateRevision = max(s.MinCreateRevision, floor)
	} else {
		s.MinModRevision = max(s.MinModRevision, floor)
	}
	return s
}

// madeParts are parts of the keys, that in which one was made last first, and of equal ones in order. It is a heap.
type madeParts []keyset.Part

func (p madeParts) Len() int      { return len(p) }
func (p madeParts) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *madeParts) Push(x any)   { *p = append(*p, x.(keyset.Part)) }
func (p madeParts) Less(i, j int) bool {
	if p[i].Made != p[j].Made {
		return p[i].Made > p[j].Made
	}
	return p[i].From < p[j].From
}
func (p *madeParts) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	*p = (*p)[:last]
	return x
}

// newestRevisions are the highest of those that were added, no more than most, the least of them first. It is a heap.
type newestRevisions struct {
	most int64
	all  []int64
}

func (n *newestRevisions) Len() int           { return len(n.all) }
func (n *newestRevisions) Less(i, j int) bool { return n.all[i] < n.all[j] }
func (n *newestRevisions) Swap(i, j int)      { n.all[i], n.all[j] = n.all[j], n.all[i] }
func (n *newestRevisions) Push(x any)         { n.all = append(n.all, x.(int64)) }
func (n *newestRevisions) Pop() any {
	last := len(n.all) - 1
	x := n.all[last]
	n.all = n.all[:last]
	return x
}

func (n *newestRevisions) enough() bool { return int64(len(n.all)) >= n.most }

func (n *newestRevisions) add(rev int64) {
	switch {
	case !n.enough():
		heap.Push(n, rev)
	case rev > n.all[0]:
		n.all[0] = rev
		heap.Fix(n, 0)
	}
}
