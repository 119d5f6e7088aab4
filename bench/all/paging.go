package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
)

// pageOf is how many keys a page has.
const pageOf = 500

// callWithin is how long one request of goals may take.
const callWithin = 30 * time.Second

// listing is a kind of list.
type listing struct {
	name    string
	part    bool // of a prefix
	old     bool // at the revision before keys were put once more
	all     bool // from the first key on, and else from any
	options func(*space) []clientv3.OpOption
}

// listings are all kinds that are to cost the same however many keys there are.
func listings() (all []listing) {
	page := func(more ...clientv3.OpOption) func(*space) []clientv3.OpOption {
		options := append([]clientv3.OpOption{clientv3.WithLimit(pageOf)}, more...)
		return func(*space) []clientv3.OpOption { return options }
	}
	counting := func(*space) []clientv3.OpOption { return []clientv3.OpOption{clientv3.WithCountOnly()} }
	for _, l := range []listing{
		{name: "page of 500", options: page()},
		{name: "count", all: true, options: counting},
		{name: "page of 500, keys only", options: page(clientv3.WithKeysOnly())},
	} {
		for _, old := range []bool{false, true} {
			for _, part := range []bool{false, true} {
				l := l
				l.old, l.part = old, part
				l.name += map[bool]string{false: ", of all keys", true: ", of a prefix"}[part]
				l.name += map[bool]string{false: "", true: ", at an old revision"}[old]
				all = append(all, l)
			}
		}
	}
	byKey := clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)
	byRevision := clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend)
	return append(all,
		listing{name: "page of 500, last key first", all: true, options: page(byKey)},
		listing{name: "page of 500, last changed first", all: true, options: page(byRevision)},
		listing{name: "page of 500 of what changed of late", all: true, options: func(s *space) []clientv3.OpOption {
			return []clientv3.OpOption{clientv3.WithLimit(pageOf), clientv3.WithMinModRev(s.now - 9)}
		}},
		listing{name: "page of 500 of what was made last", all: true, options: func(s *space) []clientv3.OpOption {
			return []clientv3.OpOption{clientv3.WithLimit(pageOf), clientv3.WithMinCreateRev(s.was - 9)}
		}})
}

// ask asks for a list once.
func (l *listing) ask(ctx context.Context, s *space, random *rand.Rand) error {
	prefix, from := pagePrefix, spaceKey(random.IntN(s.keys))
	if l.part {
		prefix, from = partPrefix, spaceKey(random.IntN(s.keys/parts)*parts+3)
	}
	if l.all {
		from = prefix
	}
	options := append([]clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix))}, l.options(s)...)
	if l.old {
		options = append(options, clientv3.WithRev(s.was))
	}
	bounded, done := context.WithTimeout(ctx, callWithin)
	defer done()
	answer, err := s.client.Get(bounded, from, options...)
	if err == nil && answer.Count == 0 {
		err = errors.New("no keys")
	}
	return err
}

// median asks again and again, and returns the median of how long that takes, in milliseconds.
func (l *listing) median(ctx context.Context, s *space, lasts time.Duration) (float64, error) {
	const atLeast = 3
	var took bench.Histogram
	random := rand.New(rand.NewPCG(uint64(s.keys), 5))
	for began := time.Now(); time.Since(began) < lasts || took.Count() < atLeast && time.Since(began) < 5*lasts; {
		start := time.Now()
		if err := l.ask(ctx, s, random); err != nil {
			return 0, err
		}
		took.Add(time.Since(start))
	}
	return float64(took.Quantile(0.5)) / float64(time.Millisecond), nil
}

// measurePaging lists nodes of several sizes in turn.
func (e *env) measurePaging(ctx context.Context) (goals.Goal, error) {
	kinds := listings()
	sizes, err := e.scale.sizes()
	costs := make([][]series, len(kinds))
	for i := range costs {
		costs[i] = make([]series, len(sizes))
	}
	if err == nil {
		err = e.list(ctx, kinds, sizes, costs)
	}
	p := goals.Paging{Sizes: sizes}
	for i, l := range kinds {
		kind := goals.Listing{Name: l.name}
		for k := range sizes {
			kind.Costs = append(kind.Costs, costs[i][k].point())
		}
		p.Kinds = append(p.Kinds, kind)
	}
	g := goals.JudgePaging(p)
	if err == nil {
		largest := e.spaces[sizes[len(sizes)-1]]
		e.profileMissed(ctx, &g, profiledNodes(largest.fleet.Nodes()), func(load string) work {
			return again(kinds, load, largest)
		})
	}
	return g, err
}

// list measures all kinds in rounds. What is refused is refused at that size for good.
func (e *env) list(ctx context.Context, kinds []listing, sizes []int, costs [][]series) error {
	for _, keys := range sizes {
		if _, err := e.space(ctx, keys); err != nil {
			return fmt.Errorf("a node of %d keys: %w", keys, err)
		}
	}
	for round := range e.rounds {
		for i := range kinds {
			for k := range sizes {
				at := (k + round + i) % len(sizes)
				into := &costs[i][at]
				if into.failed != "" {
					continue
				}
				spin := bench.Spin()
				took, err := kinds[i].median(ctx, e.spaces[sizes[at]], e.scale.lasts)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err != nil {
					into.failed = err.Error()
					continue
				}
				into.add(took, spin)
				fmt.Fprintf(e.say, "%s of %d keys: %.3f ms\n", kinds[i].name, sizes[at], took)
			}
		}
	}
	return nil
}

// again is the load of a kind of list.
func again(kinds []listing, name string, s *space) work {
	for i := range kinds {
		if kinds[i].name == name {
			return func(ctx context.Context, lasts time.Duration) error {
				_, err := kinds[i].median(ctx, s, lasts)
				return err
			}
		}
	}
	return nil
}
