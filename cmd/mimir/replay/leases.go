package replay

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// leased is a lease that the tail names.
type leased struct {
	// In the lost history.
	there   truth
	granted bool // by the tail: everything that hangs on it is known
	ended   bool
	gone    bool // at the end of the tail

	today bool     // it is there
	hangs []string // on it, today

	atFork truth
	used   bool // before the tail granted it
}

func (l *leased) reset() {
	l.there, l.granted, l.ended, l.used = l.atFork, false, false, false
}

// lease returns a lease, as it is today and, as far as that can be known, in the lost history. One that the tail grants
// was not there at the fork, unless a key hung on it; any other one that is there today was: nothing says since when a
// lease is there, and an identity is not used for two of them.
func (o *overlay) lease(ctx context.Context, id int64) (*leased, error) {
	if l := o.leases[id]; l != nil {
		return l, nil
	}
	l := &leased{atFork: maybe}
	hangs, err := o.fleet.Lease(ctx, id)
	switch {
	case err == nil:
		l.today, l.hangs, l.atFork = true, hangs, yes
	case !errors.Is(err, ErrNoLease):
		return nil, err
	}
	l.reset()
	o.leases[id] = l
	o.held += heldOfLease
	return l, o.full()
}

// hang and unhang keep what hangs on leases in the lost history.
func (o *overlay) hang(k *key) {
	if id := k.lost.lease; k.sure && k.lost.exists && id != 0 {
		if o.hanging[id] == nil {
			o.hanging[id] = map[string]*key{}
		}
		o.hanging[id][k.name] = k
	}
}

func (o *overlay) unhang(k *key) { delete(o.hanging[k.lost.lease], k.name) }

// perhapsOn returns the keys of which is not known whether they hung on a lease, and that may have.
func (o *overlay) perhapsOn(id int64) (keys []*key) {
	for _, k := range o.keys {
		if slices.Contains(k.perhaps, id) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b *key) int { return strings.Compare(a.name, b.name) })
	return keys
}

// attached returns the keys that hung on a lease in the lost history, as far as they can be known.
func (o *overlay) attached(ctx context.Context, id int64, l *leased) (keys []*key, err error) {
	if !l.granted {
		if err := o.touch(ctx, l.hangs...); err != nil {
			return nil, err
		}
	}
	for _, k := range o.hanging[id] {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b *key) int { return strings.Compare(a.name, b.name) })
	return keys, nil
}
