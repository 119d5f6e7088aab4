package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// crossing is one client, with the endpoints of all regions, that goes on while the primary moves and leaders die: it
// watches what it does, keeps leases alive, lets others end, writes until it is answered, and compacts.
type crossing struct {
	prefix  string
	client  *clientv3.Client
	ctx     context.Context
	cancel  context.CancelFunc
	kept    []*kept      // leases that it keeps alive
	retried atomic.Int64 // requests that were not answered at once
	running sync.WaitGroup
	resting context.CancelFunc // ends the writers
	writing sync.WaitGroup
	written [crossingWriters]int // requests that were answered, by writer

	mu      sync.Mutex
	seen    int64 // the revision of the last event
	values  map[string]int
	deleted map[string]int
	failed  error
}

const (
	crossingWriters = 5
	crossingLeases  = 10
	crossingTTL     = 10 // seconds
	shortLeases     = 5
	shortTTL        = 2 // seconds
	crossingTimeout = 5 * time.Second
)

// cross starts a crossing, which does not write yet. The caller ends it.
func (r *run) cross(ctx context.Context, prefix string) (*crossing, error) {
	client, err := connect(localfleet.Clients(r.fleet.Nodes())...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &crossing{prefix: prefix, client: client, ctx: ctx, cancel: cancel, resting: func() {},
		values: map[string]int{}, deleted: map[string]int{}}
	first, err := client.Put(ctx, prefix+"first", "")
	if err != nil {
		c.end()
		return nil, err
	}
	c.seen = first.Header.Revision
	c.running.Go(c.watch)
	for i := range crossingLeases {
		k, err := r.keepLease(ctx, client, crossingTTL, fmt.Sprint(prefix, "kept/", i))
		if err != nil {
			c.end()
			return nil, err
		}
		c.kept = append(c.kept, k)
	}
	for i := range shortLeases {
		if err := letEnd(ctx, client, fmt.Sprint(prefix, "short/", i)); err != nil {
			c.end()
			return nil, err
		}
	}
	return c, nil
}

// letEnd puts a key under a lease that nobody keeps alive; under another one if that has ended before.
func letEnd(ctx context.Context, client *clientv3.Client, key string) error {
	for {
		lease, err := client.Grant(ctx, shortTTL)
		if err == nil {
			_, err = client.Put(ctx, key, "", clientv3.WithLease(lease.ID))
		}
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
	}
}

// end stops everything.
func (c *crossing) end() {
	c.resting()
	c.cancel()
	c.writing.Wait()
	c.running.Wait()
	c.client.Close()
}

func (c *crossing) watch() {
	from := c.seen + 1
	for answer := range c.client.Watch(c.ctx, c.prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		err := answer.Err()
		for _, e := range answer.Events {
			err = errors.Join(err, c.take(e))
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
	if c.ctx.Err() == nil {
		c.fail(errors.New("the watch ended and did not say why"))
	}
}

func (c *crossing) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = errors.Join(c.failed, err)
}

// take wants each request of a writer once and in its order.
func (c *crossing) take(e *clientv3.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := strings.TrimPrefix(string(e.Kv.Key), c.prefix)
	if e.Kv.ModRevision < c.seen {
		return fmt.Errorf("an event of %s at revision %d after %d", key, e.Kv.ModRevision, c.seen)
	}
	c.seen = e.Kv.ModRevision
	if e.Type == clientv3.EventTypeDelete {
		c.deleted[key]++
		return nil
	}
	if strings.HasPrefix(key, "request/") {
		return nil
	}
	value, _ := strconv.Atoi(string(e.Kv.Value))
	if before := c.values[key]; strings.HasPrefix(key, "register/") && value != before+1 {
		return fmt.Errorf("%s became %d after %d, at revision %d", key, value, before, c.seen)
	}
	c.values[key] = value
	return nil
}

// write starts the writers, and whoever compacts what they leave behind; rest stops them.
func (c *crossing) write() {
	ctx, cancel := context.WithCancel(c.ctx)
	c.resting = cancel
	for i := range crossingWriters {
		c.writing.Go(func() {
			for ctx.Err() == nil && c.request(i) == nil {
				wait(ctx, 10*time.Millisecond)
			}
		})
	}
	c.writing.Go(func() {
		for wait(ctx, 200*time.Millisecond) == nil {
			c.mu.Lock()
			seen := c.seen
			c.mu.Unlock()
			c.client.Compact(ctx, seen) // fails if nothing was written, and when leaders die
		}
	})
}

func (c *crossing) rest() {
	c.resting()
	c.writing.Wait()
}

// request makes a writer's next request and repeats it until it is answered: its key says whether it was done.
func (c *crossing) request(writer int) error {
	next := strconv.Itoa(c.written[writer] + 1)
	name := fmt.Sprintf("%srequest/%d/%s", c.prefix, writer, next)
	for {
		ctx, cancel := context.WithTimeout(c.ctx, crossingTimeout)
		_, err := c.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(name), "=", 0)).Then(
			clientv3.OpPut(name, ""), clientv3.OpPut(fmt.Sprintf("%sregister/%d", c.prefix, writer), next),
		).Commit()
		cancel()
		switch {
		case err == nil:
			c.written[writer]++
			return nil
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		}
		c.retried.Add(1)
		wait(c.ctx, errorPause)
	}
}

// check wants every request done once, every lease that was kept alive alive, and the others ended.
func (c *crossing) check(ctx context.Context, r *run) error {
	last, err := c.client.Put(ctx, c.prefix+"last", "")
	if err != nil {
		return err
	}
	err = r.await(ctx, "the client saw everything, and leases ended", func(context.Context) string {
		c.mu.Lock()
		defer c.mu.Unlock()
		ended := 0
		for i := range shortLeases {
			ended += c.deleted[fmt.Sprint("short/", i)]
		}
		if c.failed == nil && (c.seen < last.Header.Revision || ended < shortLeases) {
			return fmt.Sprintf("its watch is at %d of %d, and %d of %d leases ended",
				c.seen, last.Header.Revision, ended, shortLeases)
		}
		return ""
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := errors.Join(err, c.failed); err != nil {
		return err
	}
	requests := 0
	for i, n := range c.written {
		requests += n
		if got := c.values[fmt.Sprint("register/", i)]; got != n {
			return fmt.Errorf("writer %d made %d requests, and its register holds %d", i, n, got)
		}
	}
	maps.DeleteFunc(c.deleted, func(key string, _ int) bool { return strings.HasPrefix(key, "kept/") })
	if len(c.deleted) != shortLeases {
		return fmt.Errorf("deleted: %v", c.deleted)
	}
	live, err := checkKept(ctx, c.client, c.kept)
	if err != nil {
		return err
	}
	r.line("a client of all regions made %d requests, repeated %d, and saw each done once, in order; %d leases live, "+
		"%d ended", requests, c.retried.Load(), live, shortLeases)
	return nil
}
