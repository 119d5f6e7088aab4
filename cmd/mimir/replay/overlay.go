package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// overlay is the lost history as far as it was evaluated: the keys that it touched.
type overlay struct {
	fleet Fleet
	fork  Fork
	rev   *revisions

	keys   map[string]*key
	order  []string // names of keys, the first sorted of them in order
	sorted int
	spans  map[string]bool // that are loaded; true if nothing that they had at the fork can be missing
	leases map[int64]*leased
	// hanging are the keys of each lease in the lost history.
	hanging map[int64]map[string]*key
	// late says that a key was found that an earlier command had changed: the pass has to be made again.
	late      bool
	certain   int64 // the lowest revision that could be read at the fork
	compacted int64 // by the tail
	first     bool  // in the first pass
	held      int64 // bytes of keys and leases
	most      int64 // of them; 0: as many as there are
}

// ErrTooMuch says that a tail touches more than Options.MaxHeld.
var ErrTooMuch = errors.New("the tail touches more keys and values than may be held")

// What a key takes beside its name and its values, and a lease with what keeps it alive.
const (
	heldOfKey   = 1 << 10
	heldOfLease = 8 << 10
)

// full returns ErrTooMuch if more is held than may be.
func (o *overlay) full() error {
	if o.most > 0 && o.held > o.most {
		return fmt.Errorf("%w: %d bytes", ErrTooMuch, o.most)
	}
	return nil
}

func newOverlay(fleet Fleet, fork Fork) *overlay {
	o := &overlay{
		fleet: fleet, fork: fork, certain: fork.Readable, first: true,
		keys: map[string]*key{}, spans: map[string]bool{}, leases: map[int64]*leased{},
	}
	o.reset()
	return o
}

// reset goes back to the fork, and keeps what was looked up.
func (o *overlay) reset() {
	o.rev, o.late, o.compacted, o.hanging = newRevisions(&o.fork), false, 0, map[int64]map[string]*key{}
	o.held = heldOfLease * int64(len(o.leases))
	for _, l := range o.leases {
		l.reset()
	}
	for _, k := range o.keys {
		k.reset()
		o.hang(k)
		o.held += k.size()
	}
}

// readable reports whether the contents at the fork can be read.
func (o *overlay) readable() bool { return o.fork.Revision > 0 && o.fork.Revision >= o.fork.Readable }

// lookKeys is how many keys are looked up at a time: two operations each, of the 128 that every fleet takes.
const lookKeys = 64

// touch looks up the keys that are not known yet.
func (o *overlay) touch(ctx context.Context, names ...string) error {
	var missing []string
	seen := map[string]bool{}
	for _, n := range names {
		if o.keys[n] == nil && !seen[n] {
			seen[n] = true
			missing = append(missing, n)
		}
	}
	for some := range slices.Chunk(missing, lookKeys) {
		at := int64(0)
		if o.readable() {
			at = o.fork.Revision
		}
		now, then, err := o.fleet.Keys(ctx, some, at)
		if errors.Is(err, ErrCompacted) {
			o.fork.Readable = o.fork.Revision + 1
			at = 0
			now, _, err = o.fleet.Keys(ctx, some, 0)
		}
		if err != nil {
			return err
		}
		for i, n := range some {
			if at != 0 {
				o.add(n, now[i], then[i], true)
			} else {
				o.add(n, now[i], nil, false)
			}
		}
		if err := o.full(); err != nil {
			return err
		}
	}
	return nil
}

// add takes a key that was looked up. What it was at the fork can be read, or follows from its revision of today.
func (o *overlay) add(name string, now, then *mvccpb.KeyValue, read bool) {
	fork, known := versionOf(then), read
	switch {
	case now != nil && now.ModRevision < o.fork.Base:
		fork, known = versionOf(now), true
	case !read:
		known = now == nil && o.fork.MissingIsNew
	}
	k := newKey(name, now, fork, known)
	o.keys[name] = k
	o.held += k.size()
	o.order = append(o.order, name)
	if l := o.leases[fork.lease]; known && fork.exists && fork.lease != 0 && l != nil && l.ended {
		o.late = true
	}
	o.hang(k)
}

// load looks up what a span has and had, and reports whether that is all that it had at the fork.
func (o *overlay) load(ctx context.Context, sp command.Span) (whole bool, err error) {
	name := spanName(sp)
	if whole, ok := o.spans[name]; ok {
		return whole, nil
	}
	read := o.readable()
	var now, then map[string]*mvccpb.KeyValue
	if read {
		if then, err = o.span(ctx, sp, o.fork.Revision); errors.Is(err, ErrCompacted) {
			o.fork.Readable, read, then = o.fork.Revision+1, false, nil
		} else if err != nil {
			return false, err
		}
	}
	if now, err = o.span(ctx, sp, 0); err != nil {
		return false, err
	}
	for n := range then {
		if o.keys[n] == nil {
			o.add(n, now[n], then[n], true)
		}
	}
	for n := range now {
		if o.keys[n] == nil {
			o.add(n, now[n], nil, read)
		}
	}
	o.spans[name] = read || o.fork.MissingIsNew
	return o.spans[name], o.full()
}

// span returns what a span has at a revision, 0: today, and does not read on when that is more than may be held.
func (o *overlay) span(ctx context.Context, sp command.Span, at int64) (map[string]*mvccpb.KeyValue, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	found, bytes := map[string]*mvccpb.KeyValue{}, int64(0)
	_, err := o.fleet.Span(ctx, sp, at, func(kv *mvccpb.KeyValue) {
		if o.most > 0 && bytes > o.most {
			stop()
			return
		}
		bytes += int64(len(kv.Key)+len(kv.Value)) + heldOfKey
		found[string(kv.Key)] = kv
	})
	if o.most > 0 && bytes > o.most {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooMuch, o.most)
	}
	return found, err
}

// spanName is different for different spans.
func spanName(sp command.Span) string { return fmt.Sprintf("%q %q", sp.Start, sp.End) }

// in returns the keys of a span that were touched, in order of name.
func (o *overlay) in(sp command.Span) (keys []*key) {
	if sp.Single() {
		if k := o.keys[string(sp.Start)]; k != nil {
			keys = append(keys, k)
		}
		return keys
	}
	if o.sorted < len(o.order) {
		slices.Sort(o.order)
		o.sorted = len(o.order)
	}
	i, _ := slices.BinarySearch(o.order, string(sp.Start))
	for _, n := range o.order[i:] {
		if !sp.Contains([]byte(n)) {
			break
		}
		keys = append(keys, o.keys[n])
	}
	return keys
}

// settle ends the first pass.
func (o *overlay) settle() {
	for _, k := range o.keys {
		k.settle()
	}
	for _, l := range o.leases {
		l.gone = l.there == no && l.ended
	}
	o.first = false
}
