package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// loader puts records until each is acknowledged. A put whose outcome is unknown is repeated: its key gets another
// version with the same value, at worst.
type loader struct {
	records []Record
	acked   []acknowledgement // of each record, valid once it is done
	next    atomic.Int64
	done    atomic.Int64

	mu       sync.Mutex
	failures map[string]int // puts that were repeated, by why they failed

	hold   int64         // records that may be begun before release
	free   chan struct{} // closed by release
	whole  chan struct{} // closed when all is acknowledged
	failed error         // valid after whole
}

type acknowledgement struct {
	revision int64
	at       time.Time
	took     time.Duration
}

const (
	loadWorkers = 128
	putTimeout  = 10 * time.Second
	retryPause  = 20 * time.Millisecond
)

// startLoader begins to load. The last tenth is held back until release.
func startLoader(ctx context.Context, clients []*clientv3.Client, records []Record) *loader {
	l := &loader{
		records: records, acked: make([]acknowledgement, len(records)), hold: int64(len(records) * 9 / 10),
		free: make(chan struct{}), whole: make(chan struct{}), failures: map[string]int{},
	}
	go func() {
		defer close(l.whole)
		var workers sync.WaitGroup
		for i := range loadWorkers {
			workers.Go(func() { l.work(ctx, clients[i%len(clients)]) })
		}
		workers.Wait()
		l.failed = ctx.Err()
	}()
	return l
}

// release lets the last records go.
func (l *loader) release() { close(l.free) }

func (l *loader) work(ctx context.Context, client *clientv3.Client) {
	for {
		i := l.next.Add(1) - 1
		if i >= int64(len(l.records)) {
			return
		}
		if i >= l.hold {
			select {
			case <-l.free:
			case <-ctx.Done():
				return
			}
		}
		for !l.put(ctx, client, i) {
			select {
			case <-time.After(retryPause):
			case <-ctx.Done():
				return
			}
		}
		l.done.Add(1)
	}
}

func (l *loader) put(ctx context.Context, client *clientv3.Client, i int64) bool {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	began := time.Now()
	answer, err := client.Put(ctx, l.records[i].Key, string(l.records[i].Value))
	if err != nil {
		l.mu.Lock()
		l.failures[err.Error()]++
		l.mu.Unlock()
		return false
	}
	now := time.Now()
	l.acked[i] = acknowledgement{answer.Header.Revision, now, now.Sub(began)}
	return true
}

// reaches waits until a share of the records is acknowledged.
func (l *loader) reaches(ctx context.Context, share float64) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	want := int64(share * float64(len(l.records)))
	for l.done.Load() < want {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d records loaded: %w", l.done.Load(), len(l.records), ctx.Err())
		case <-poll.C:
		}
	}
	return nil
}
