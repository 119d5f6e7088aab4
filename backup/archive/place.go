package archive

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/backup/store"
)

// fleetPrefix is what the names begin with of what is of a fleet, as those of its backups do.
const fleetPrefix = "fleet@"

// part is what of a store is of one fleet.
type part struct {
	store.Store
	prefix string
}

// Of returns the part of a place in which the archive of a fleet lies: several fleets can have one place.
func Of(s store.Store, fleet string) store.Store { return part{s, fleetPrefix + fleet + "/"} }

func (p part) Put(ctx context.Context, name string, r io.Reader) error {
	return p.Store.Put(ctx, p.prefix+name, r)
}

// Settle implements store.Settler.
func (p part) Settle(ctx context.Context, name string) error {
	return store.Settle(ctx, p.Store, p.prefix+name)
}

func (p part) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	return p.Store.Get(ctx, p.prefix+name)
}

func (p part) List(ctx context.Context, prefix string) ([]store.Object, error) {
	list, err := p.Store.List(ctx, p.prefix+prefix)
	for i := range list {
		list[i].Name = strings.TrimPrefix(list[i].Name, p.prefix)
	}
	return list, err
}

func (p part) Walk(ctx context.Context, prefix string, visit func(store.Object) error) error {
	return p.Store.Walk(ctx, p.prefix+prefix, func(o store.Object) error {
		o.Name = strings.TrimPrefix(o.Name, p.prefix)
		return visit(o)
	})
}

func (p part) Delete(ctx context.Context, name string) error {
	return p.Store.Delete(ctx, p.prefix+name)
}

// OfOnly returns the part of a place that has the archive of a fleet; if fleet is empty, of the only one of which there
// is an archive.
func OfOnly(ctx context.Context, s store.Store, fleet string) (store.Store, error) {
	if fleet != "" {
		return Of(s, fleet), nil
	}
	fleets, err := Fleets(ctx, s)
	if err != nil {
		return nil, err
	}
	if len(fleets) == 0 {
		return nil, fmt.Errorf("%w: %s has no archive yet: what archives there tells in mimir status how far it is",
			ErrMissing, s)
	}
	if len(fleets) != 1 {
		return nil, fmt.Errorf("%w: %s has archives of %d fleets, %s: name one of them", ErrMissing, s, len(fleets),
			strings.Join(fleets, ", "))
	}
	return Of(s, fleets[0]), nil
}

// Fleets returns the names of the fleets of which a place has segments.
func Fleets(ctx context.Context, s store.Store) (fleets []string, err error) {
	err = s.Walk(ctx, fleetPrefix, func(o store.Object) error {
		fleet, name, _ := strings.Cut(strings.TrimPrefix(o.Name, fleetPrefix), "/")
		if _, ok := ParseName(name); ok && !slices.Contains(fleets, fleet) {
			fleets = append(fleets, fleet)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the fleets in %s: %w", s, err)
	}
	return fleets, nil
}
