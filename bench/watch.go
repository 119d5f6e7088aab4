package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// watchPrefix keeps watched keys apart from the rest.
const watchPrefix = "bench-watch/"

// stampBytes at the head of a value hold the local time, in nanoseconds, at which its put began.
const stampBytes = 8

// errWatchLost says that a watch ended, or brought less than was put.
var errWatchLost = errors.New("watch lost events")

// measureWatch lets every connection watch the same keys while all callers put them: each put gives as many events as
// there are connections. Latency is from the start of the put until the event arrived; the rate is in events.
func measureWatch(ctx context.Context, o *Options, t *target) (*Measurement, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchers := make([]*watcher, len(t.clients))
	for i, c := range t.clients {
		w, err := startWatcher(ctx, o, c)
		if err != nil {
			return nil, err
		}
		watchers[i] = w
	}
	limit, more := o.Duration, func() bool { return true }
	if o.Total > 0 {
		var taken atomic.Int64
		more = func() bool { return taken.Add(int64(len(watchers))) <= int64(o.Total) }
		limit = 0
	}
	var last atomic.Int64 // highest revision put
	began := time.Now()
	puts := drive(ctx, o, t, func(ctx context.Context, c *clientv3.Client, random *rand.Rand) error {
		answer, err := c.Put(ctx, watchPrefix+o.key(random.IntN(o.KeySpace)), o.stamped(random))
		if err == nil {
			for seen := last.Load(); seen < answer.Header.Revision &&
				!last.CompareAndSwap(seen, answer.Header.Revision); {
				seen = last.Load()
			}
		}
		return err
	}, more, limit)
	whole := &result{errors: puts.errors, first: puts.first}
	var wg sync.WaitGroup
	for _, w := range watchers {
		wg.Go(func() { w.waitFor(ctx, last.Load(), o.Timeout) })
	}
	wg.Wait()
	whole.elapsed = time.Since(began)
	cancel()
	for _, w := range watchers {
		<-w.done
		whole.latency.Merge(&w.latency)
		if missing := puts.latency.Count() - min(w.events, puts.latency.Count()); missing > 0 && puts.errors == 0 {
			whole.errors += missing
			whole.first = errors.Join(whole.first,
				fmt.Errorf("%w: %d of %d", errWatchLost, missing, puts.latency.Count()))
		}
	}
	return whole.measurement(t.name, Watch), nil
}

func (o *Options) stamped(random *rand.Rand) string {
	value := []byte(o.value(random))
	if len(value) < stampBytes {
		value = make([]byte, stampBytes)
	}
	binary.BigEndian.PutUint64(value, uint64(time.Now().UnixNano()))
	return string(value)
}

// watcher counts the events of one connection. latency and events may be read after done is closed.
type watcher struct {
	latency Histogram
	events  uint64
	seen    atomic.Int64 // highest revision that arrived
	done    chan struct{}
}

func startWatcher(ctx context.Context, o *Options, c *clientv3.Client) (*watcher, error) {
	w := &watcher{done: make(chan struct{})}
	created := make(chan error, 1)
	channel := c.Watch(ctx, watchPrefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	go func() {
		defer close(w.done)
		for answer := range channel {
			if answer.Created {
				created <- answer.Err()
			}
			now := time.Now().UnixNano()
			for _, event := range answer.Events {
				if len(event.Kv.Value) >= stampBytes {
					w.latency.Add(time.Duration(now - int64(binary.BigEndian.Uint64(event.Kv.Value))))
				}
				w.events++
				w.seen.Store(event.Kv.ModRevision)
			}
		}
	}()
	select {
	case err := <-created:
		return w, err
	case <-w.done:
		return nil, errWatchLost
	case <-time.After(o.Timeout):
		return nil, fmt.Errorf("watch was not created within %s", o.Timeout)
	}
}

// waitFor returns when the event of the given revision has arrived, or the time is up.
func (w *watcher) waitFor(ctx context.Context, revision int64, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for w.seen.Load() < revision {
		select {
		case <-time.After(time.Millisecond):
		case <-w.done:
			return
		case <-ctx.Done():
			return
		}
	}
}
