package kv

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// errEnough is what a visitor returns that wants no more.
var errEnough = errors.New("kv: enough keys visited")

// fetch visits the first limit keys of sp as they are at rev, and counts all of them: where there is an index, it reads
// little more than what it visits.
func (v view) fetch(
	ctx context.Context, sp command.Span, rev, limit int64, visit mvcc.Visitor,
) (count int64, err error) {
	if v.keys == nil || limit == mvcc.NoLimit {
		return v.Scan(ctx, sp, rev, limit, visit)
	}
	if count, err = v.count(ctx, sp, rev); err != nil {
		return 0, err
	}
	return count, v.walk(ctx, sp, rev, min(limit, count), visit)
}

// walk visits the first keys of sp as they are at rev, no more than most. It ends early where visit wants no more.
func (v view) walk(ctx context.Context, sp command.Span, rev, most int64, visit mvcc.Visitor) error {
	if most == 0 {
		return nil
	}
	_, err := v.Scan(ctx, sp, rev, most, func(key []byte, ver *mvcc.Version) error {
		if err := visit(key, ver); err != nil {
			return err
		}
		if most--; most == 0 {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// selected is fetch for what r asks for: it visits at least what finishRange makes the answer of, in order of keys, and
// nothing that the filters of r leave out.
func (v view) selected(
	ctx context.Context, r *pb.RangeRequest, sp command.Span, rev int64, visit mvcc.Visitor,
) (count int64, err error) {
	filters, descending := hasFilters(r), r.SortOrder == pb.RangeRequest_DESCEND
	want := int64(mvcc.NoLimit)
	if r.Limit > 0 && r.Limit < math.MaxInt64 && r.SortTarget == pb.RangeRequest_KEY {
		want = r.Limit + 1
	}
	newest := newestFirst(r)
	if r.CountOnly || v.keys == nil || !filters && !newest && !(descending && want < mvcc.NoLimit) {
		if filters {
			visit = filtering(r, mvcc.NoLimit, visit)
		}
		return v.fetch(ctx, sp, rev, fetchLimit(r), visit)
	}
	if count, err = v.count(ctx, sp, rev); err != nil || count == 0 {
		return count, err
	}
	if newest && count > r.Limit+1 {
		return count, v.newest(ctx, r, sp, rev, count, visit)
	}
	if !filters && newest {
		return count, v.walk(ctx, sp, rev, mvcc.NoLimit, visit)
	}
	if !filters {
		if want = min(want, count); v.own != nil { // a limit may be any number
			want += int64(len(v.own.All()))
		}
		sp.Start = []byte(v.keys.Back(intervalOf(sp), rev, want))
		return count, v.walk(ctx, sp, rev, mvcc.NoLimit, visit)
	}
	if descending {
		want = mvcc.NoLimit
	}
	return count, v.filtered(ctx, r, sp, rev, count, want, visit)
}

// filtering is a visitor that leaves out what the filters of r do, and ends after so many that they do not.
func filtering(r *pb.RangeRequest, want int64, visit mvcc.Visitor) mvcc.Visitor {
	return func(key []byte, ver *mvcc.Version) error {
		if filteredOut(r, ver.Main, ver.Create) {
			return nil
		}
		if err := visit(key, ver); err != nil {
			return err
		}
		if want--; want == 0 {
			return errEnough
		}
		return nil
	}
}

// What it costs to seek a key, in keys that are read one behind the other, and how many parts of the keys are looked at
// to say how many keys are in parts that may have young ones.
const (
	seekCost  = 8
	mostParts = 64
)

// filtered visits the first want keys of sp that the filters of r leave, of the count that there are: by what changed
// since the least revision that they leave, or by the blocks of keys in which something did, whichever is less to read.
func (v view) filtered(
	ctx context.Context, r *pb.RangeRequest, sp command.Span, rev, count, want int64, visit mvcc.Visitor,
) error {
	visit = filtering(r, want, visit)
	from := max(r.MinModRevision, r.MinCreateRevision)
	if from > rev {
		return nil
	}
	// With as many changes as most the want-th key that is left is found in as many steps.
	most := count / 16
	if want < mvcc.NoLimit {
		most = min(most, int64(math.Sqrt(float64(want)*float64(count))))
	}
	between := v.state.Between(from, rev) // revisions, each of which has a change at least
	if from < max(v.state.Compact, mvcc.FirstRevision) || between > most {
		return v.young(ctx, r, sp, rev, count, visit)
	}
	if most = min(most, v.youngKeys(r, sp, rev, seekCost*most)/seekCost); between > most {
		return v.young(ctx, r, sp, rev, count, visit)
	}
	changed := map[string]struct{}{}
	whole, err := v.Changed(from, rev, most, func(key []byte, _ mvcc.Stamp) {
		if sp.Contains(key) {
			changed[string(key)] = struct{}{}
		}
	})
	if err != nil {
		return err
	}
	if !whole {
		return v.young(ctx, r, sp, rev, count, visit)
	}
	return v.visitKeys(ctx, changed, rev, visit)
}

// youngKeys returns about how many keys sp has in parts that may have young ones; more than most if they are more, or
// lie in too many parts, or nothing is known of them.
func (v view) youngKeys(r *pb.RangeRequest, sp command.Span, rev, most int64) (keys int64) {
	if v.own != nil { // of what a run has not committed the index knows nothing
		return most + 1
	}
	in := intervalOf(sp)
	for range mostParts {
		part, ok := v.keys.Young(in, rev, r.MinModRevision, r.MinCreateRevision)
		if !ok {
			return keys
		}
		known, rest := v.keys.Count(part, rev)
		if len(rest) > 0 { // what is not known of rev any more is about as much now
			now, _ := v.keys.Count(part, math.MaxInt64)
			known = max(known, now)
		}
		if keys += known; keys > most || !v.keys.Whole() {
			return most + 1
		}
		if !part.Bounded {
			return keys
		}
		in.From = part.To
	}
	return most + 1
}

// young visits the keys of sp as they are at rev, of the count that there are, but for those of which is known that
// they are too old for the filters of r. It ends early where visit wants no more.
func (v view) young(
	ctx context.Context, r *pb.RangeRequest, sp command.Span, rev, count int64, visit mvcc.Visitor,
) error {
	if v.changed || r.MinModRevision <= 0 && r.MinCreateRevision <= 0 {
		return v.walk(ctx, sp, rev, count, visit)
	}
	for in := intervalOf(sp); ; {
		part, ok := v.keys.Young(in, rev, r.MinModRevision, r.MinCreateRevision)
		if !ok {
			return nil
		}
		_, err := v.Scan(ctx, spanOf(part), rev, mvcc.NoLimit, visit)
		if err == nil {
			err = ctx.Err() // a part may be too small for a scan to look
		}
		switch {
		case errors.Is(err, errEnough):
			return nil
		case err != nil || !part.Bounded:
			return err
		}
		in.From = part.To
	}
}

// visitKeys visits those of the keys that exist at rev, in order.
func (v view) visitKeys(ctx context.Context, keys map[string]struct{}, rev int64, visit mvcc.Visitor) error {
	sorted := make([][]byte, 0, len(keys))
	for key := range keys {
		sorted = append(sorted, []byte(key))
	}
	slices.SortFunc(sorted, bytes.Compare)
	for _, key := range sorted {
		ver, err := v.Newest(key, rev)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && ver.Exists() {
			err = visit(key, &ver)
		}
		switch {
		case errors.Is(err, errEnough):
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// count returns how many keys of sp exist at rev.
func (v view) count(ctx context.Context, sp command.Span, rev int64) (count int64, err error) {
	count, rest := v.keys.Count(intervalOf(sp), rev)
	if v.own != nil {
		count += v.own.Count(intervalOf(sp), rev)
		for _, in := range rest { // a scan finds them
			count -= v.own.Count(in, rev)
		}
	}
	for _, in := range rest {
		n, err := v.Scan(ctx, spanOf(in), rev, 0, nil)
		if err != nil {
			return 0, err
		}
		count += n
	}
	return count, nil
}

// skip is what a scan asks where it finds nothing for long.
func (g *generation) skip(key []byte, rev int64) (next []byte, ok bool) {
	from, ok := g.keys.Next(string(key), rev)
	return []byte(from), ok
}
