package demo

import (
	"context"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// watcher watches what the load writes, from the beginning on, and keeps all that it sees. It is safe for concurrent
// use.
type watcher struct {
	done chan struct{}

	mu      sync.Mutex
	events  []event
	resumed int
}

// resumePause is how long it waits before it watches again where a watch has ended.
const resumePause = 50 * time.Millisecond

// watchAll watches until ctx ends, which closes done.
func watchAll(ctx context.Context, client *clientv3.Client) *watcher {
	w := &watcher{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for next := int64(1); ctx.Err() == nil; {
			next = w.watch(ctx, client, next)
			select {
			case <-time.After(resumePause):
			case <-ctx.Done():
			}
		}
	}()
	return w
}

// watch watches from a revision on until the watch ends, and returns from where to go on: behind what was seen, or
// where the fleet says, if what was seen is not of its history any more.
func (w *watcher) watch(ctx context.Context, client *clientv3.Client, next int64) int64 {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from := clientv3.WithRev(next)
	for r := range client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), from) {
		w.mu.Lock()
		for _, e := range r.Events {
			w.events = append(w.events, event{string(e.Kv.Key), e.Kv.ModRevision})
			next = max(next, e.Kv.ModRevision+1)
		}
		if r.CompactRevision > 0 {
			w.resumed++
			next = r.CompactRevision
		}
		w.mu.Unlock()
	}
	return next
}

// seen returns what it saw so far, and how often it was told from where to go on.
func (w *watcher) seen() ([]event, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events), w.resumed
}
