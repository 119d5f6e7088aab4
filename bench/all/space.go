package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// space is a node that stands alone with so many keys, of which some were put once more.
type space struct {
	keys   int
	fleet  *localfleet.Fleet
	client *clientv3.Client
	was    int64 // the revision at which all keys were there
	now    int64 // the newest one
}

const (
	pagePrefix  = "page/"
	partPrefix  = pagePrefix + "3/" // a tenth of all keys
	parts       = 10
	changedEach = 5 // of so many keys one is put once more
	spaceValue  = 128
	together    = 100 // puts of a transaction
	fillers     = 16
)

// spaceKey is the name of a key: there are parts prefixes with equally many.
func spaceKey(n int) string { return fmt.Sprintf("%s%d/%08d", pagePrefix, n%parts, n/parts) }

// space starts a node with so many keys, or returns the one that there is.
func (e *env) space(ctx context.Context, keys int) (*space, error) {
	if s := e.spaces[keys]; s != nil {
		return s, nil
	}
	s := &space{keys: keys}
	var err error
	dir := filepath.Join(e.work, fmt.Sprintf("space-%d", keys))
	s.fleet, s.client, err = startFleet(ctx, dir, []string{e.mimir, "serve", "--pprof"}, 1, "here")
	if err != nil {
		return nil, err
	}
	e.spaces[keys] = s
	began := time.Now()
	if s.was, err = fill(ctx, s.client, keys, spaceValue, spaceKey); err == nil {
		s.now, err = s.change(ctx)
	}
	if err != nil {
		s.close()
		delete(e.spaces, keys)
		return nil, err
	}
	fmt.Fprintf(e.say, "%d keys took %v\n", keys, time.Since(began).Round(time.Millisecond))
	return s, nil
}

// change puts some of the keys once more.
func (s *space) change(ctx context.Context) (int64, error) {
	return fill(ctx, s.client, (s.keys+changedEach-1)/changedEach, spaceValue, func(n int) string {
		return spaceKey(n * changedEach)
	})
}

func (s *space) node() *localfleet.Node { return s.fleet.Nodes()[0] }

func (s *space) close() {
	s.client.Close()
	s.fleet.Close()
}

func (e *env) closeSpaces() {
	for keys, s := range e.spaces {
		s.close()
		delete(e.spaces, keys)
	}
}

// fill puts keys, many in a transaction, and returns the revision behind them.
func fill(ctx context.Context, c *clientv3.Client, keys, valueBytes int, key func(int) string) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range fillers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 3))
			for ctx.Err() == nil {
				first := int(next.Add(together)) - together
				if first >= keys {
					return
				}
				var puts []clientv3.Op
				for n := first; n < min(first+together, keys); n++ {
					puts = append(puts, clientv3.OpPut(key(n), text(random, valueBytes)))
				}
				bounded, done := context.WithTimeout(ctx, callWithin)
				if _, err := c.Txn(bounded).Then(puts...).Commit(); err != nil {
					cancel(fmt.Errorf("fill %d keys: %w", keys, err))
				}
				done()
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	return revision(ctx, c)
}

// revision is how far servers are.
func revision(ctx context.Context, c *clientv3.Client, options ...clientv3.OpOption) (int64, error) {
	bounded, done := context.WithTimeout(ctx, callWithin)
	defer done()
	answer, err := c.Get(bounded, "bench-reachable", options...)
	if err != nil {
		return 0, err
	}
	return answer.Header.Revision, nil
}

// text is so many letters that do not compress to nothing.
func text(random *rand.Rand, n int) string {
	p := make([]byte, n)
	for i := range p {
		p[i] = 'a' + byte(random.Uint32()%26)
	}
	return string(p)
}
