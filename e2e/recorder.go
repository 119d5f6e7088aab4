package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// event is what a watcher was told, with the value as its hash.
type event struct {
	Revision, Created, Version int64
	Delete                     bool
	Key                        string
	Value                      [sha256.Size]byte
}

// recorder watches everything from one revision on and keeps what it is told. It expects one event for each revision,
// as a history of plain puts has them, and ends with an error at the first one that is missing, doubled or out of
// order.
type recorder struct {
	from int64

	mu      sync.Mutex
	events  []event
	arrived []time.Time
	resumed int // how often the watch had to be made anew
	failed  error
	grown   chan struct{} // closed when there is more
}

// record starts a recorder, which works until ctx ends.
func record(ctx context.Context, client *clientv3.Client, from int64) *recorder {
	r := &recorder{from: from, grown: make(chan struct{})}
	go r.run(ctx, client)
	return r
}

// everything is the range of all keys, as the API writes it.
const everything = "\x00"

func (r *recorder) run(ctx context.Context, client *clientv3.Client) {
	for ctx.Err() == nil {
		next := r.from + int64(r.count())
		watching, cancel := context.WithCancel(ctx)
		for answer := range client.Watch(watching, everything, clientv3.WithFromKey(), clientv3.WithRev(next)) {
			if err := r.take(&answer); err != nil {
				cancel()
				r.fail(err)
				return
			}
		}
		cancel()
		r.mu.Lock()
		r.resumed++
		r.mu.Unlock()
		_ = wait(ctx, errorPause) // a client that was closed ends each watch at once
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

// arrival is when the event of a revision came, which must have come.
func (r *recorder) arrival(revision int64) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrived[revision-r.from]
}

// resumptions is how often the watch had to be made anew until now.
func (r *recorder) resumptions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resumed
}

func (r *recorder) take(answer *clientv3.WatchResponse) error {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if answer.CompactRevision != 0 {
		return fmt.Errorf("watch ended: compacted at %d", answer.CompactRevision)
	}
	for _, e := range answer.Events {
		if want := r.from + int64(len(r.events)); e.Kv.ModRevision != want {
			return fmt.Errorf("watcher saw revision %d (key %s) where %d was next", e.Kv.ModRevision, e.Kv.Key, want)
		}
		r.events = append(r.events, event{
			e.Kv.ModRevision, e.Kv.CreateRevision, e.Kv.Version, e.Type == mvccpb.Event_DELETE, string(e.Kv.Key),
			sha256.Sum256(e.Kv.Value),
		})
		r.arrived = append(r.arrived, now)
	}
	r.wake()
	return nil
}

func (r *recorder) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
	r.wake()
}

func (r *recorder) wake() {
	close(r.grown)
	r.grown = make(chan struct{})
}

// upTo waits until the events up to a revision are there, and returns them all.
func (r *recorder) upTo(ctx context.Context, revision int64) ([]event, error) {
	for {
		r.mu.Lock()
		events, failed, grown := r.events, r.failed, r.grown
		r.mu.Unlock()
		last := r.from + int64(len(events)) - 1
		if failed != nil {
			return nil, failed
		}
		if last >= revision {
			return events[:revision-r.from+1], nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the watcher has seen events up to revision %d of %d: %w", last, revision, ctx.Err())
		case <-grown:
		}
	}
}
