package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// writers put keys of their own, one after the other, and keep what came of each. They repeat nothing: what a client
// library hides is hidden, and nothing else.
type writers struct {
	prefix string
	pause  time.Duration // of each
	began  time.Time
	acks   atomic.Int64
	errors atomic.Int64
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	writes []write
}

// write is one put, with err if it was not acknowledged.
type write struct {
	key, value   string
	revision     int64
	began, ended time.Time
	err          error
}

const (
	writersPerClient = 4
	writeTimeout     = 60 * time.Second
	errorPause       = 50 * time.Millisecond
)

// startWriters begins to write under a prefix through every client, with a pause between two writes of each writer.
func startWriters(ctx context.Context, clients []*clientv3.Client, prefix string, pause time.Duration) *writers {
	ctx, cancel := context.WithCancel(ctx)
	w := &writers{prefix: prefix, pause: pause, began: time.Now(), cancel: cancel}
	for i, client := range clients {
		for j := range writersPerClient {
			w.all.Go(func() { w.work(ctx, client, fmt.Sprintf("%s%d-%d/", prefix, i, j)) })
		}
	}
	return w
}

func (w *writers) work(ctx context.Context, client *clientv3.Client, prefix string) {
	for i := 0; ctx.Err() == nil; i++ {
		one := write{key: fmt.Sprintf("%s%08d", prefix, i), began: time.Now()}
		one.value = "written to " + one.key
		putting, cancel := context.WithTimeout(ctx, writeTimeout)
		answer, err := client.Put(putting, one.key, one.value)
		cancel()
		one.ended = time.Now()
		if one.err = err; err == nil {
			one.revision = answer.Header.Revision
			w.acks.Add(1)
		} else if ctx.Err() == nil {
			w.errors.Add(1)
		}
		w.mu.Lock()
		w.writes = append(w.writes, one)
		w.mu.Unlock()
		w.rest(ctx, err)
	}
}

// rest waits as long as a writer does behind a write that came to err.
func (w *writers) rest(ctx context.Context, err error) {
	pause := w.pause
	if err != nil {
		pause = max(pause, errorPause)
	}
	if pause > 0 {
		_ = wait(ctx, pause) // the writer looks at ctx itself
	}
}

// more waits for a number of acknowledgements from now on.
func (w *writers) more(ctx context.Context, count int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for want := w.acks.Load() + int64(count); w.acks.Load() < want; {
		select {
		case <-ctx.Done():
			missing := fmt.Errorf("%d acknowledgements missing after %s (%d errors): %w",
				want-w.acks.Load(), patience, w.errors.Load(), ctx.Err())
			return errors.Join(missing, w.firstError())
		case <-poll.C:
		}
	}
	return nil
}

// rate is how many writes were acknowledged a second until now.
func (w *writers) rate() float64 { return perSecond(int(w.acks.Load()), time.Since(w.began)) }

// lastRevision is the highest that was acknowledged until now.
func (w *writers) lastRevision() (last int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.writes {
		last = max(last, one.revision)
	}
	return last
}

// stop ends the writers, interrupts what is under way, and returns all writes in the order in which they ended. The
// outcome of those that were interrupted is unknown.
func (w *writers) stop() []write {
	w.cancel()
	w.all.Wait()
	slices.SortFunc(w.writes, func(a, b write) int { return a.ended.Compare(b.ended) })
	return w.writes
}

// firstError returns why a put failed that was not interrupted by stop.
func (w *writers) firstError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.writes {
		if one.err != nil && !errors.Is(one.err, context.Canceled) {
			return fmt.Errorf("put %s, after %s: %w", one.key, short(one.ended.Sub(one.began)), one.err)
		}
	}
	return nil
}

// unsettled counts the writes that ended without an acknowledgement while nothing was wrong with a fleet, but that a
// region may have elected a leader. Then a client may be told that the outcome of its write is unknown, and after
// request-timeout that there was no leader; else nothing.
func unsettled(writes []write, elected bool) (count int, err error) {
	for _, one := range writes {
		told := errors.Is(one.err, rpctypes.ErrTimeoutDueToLeaderFail) || errors.Is(one.err, rpctypes.ErrNoLeader)
		switch {
		case one.err == nil || errors.Is(one.err, context.Canceled):
		case elected && told:
			count++
		default:
			return 0, fmt.Errorf("a client saw an error, elections beside it: %t: put %s, after %s: %w", elected,
				one.key, short(one.ended.Sub(one.began)), one.err)
		}
	}
	return count, nil
}

// failures counts the writes that ended with an error, but for those that stop interrupted.
func failures(writes []write) (count int) {
	for _, one := range writes {
		if one.err != nil && !errors.Is(one.err, context.Canceled) {
			count++
		}
	}
	return count
}

// longestPause returns the longest time without an acknowledgement, and when it began.
func longestPause(writes []write) (pause time.Duration, began time.Time) {
	var last time.Time
	for _, one := range writes {
		if one.err != nil {
			continue
		}
		if gap := one.ended.Sub(last); !last.IsZero() && gap > pause {
			pause, began = gap, last
		}
		last = one.ended
	}
	return pause, began
}

// slowest returns the acknowledged write that took longest.
func slowest(writes []write) time.Duration {
	one := slices.MaxFunc(writes, func(a, b write) int { return cmp.Compare(a.latency(), b.latency()) })
	return one.latency()
}

func (w *write) latency() time.Duration {
	if w.err != nil {
		return 0
	}
	return w.ended.Sub(w.began)
}

// checkAcknowledged wants every acknowledged write in held at the revision that its answer named and applied once, but
// for those that missing allows, and no write applied twice. It returns how many were acknowledged.
func checkAcknowledged(writes []write, held content, missing func(key string) bool) (acked int, err error) {
	for _, one := range writes {
		kv := held[one.key]
		if kv != nil && (kv.Version != 1 || string(kv.Value) != one.value) {
			return 0, fmt.Errorf("%s was put once, but is {%s}", one.key, describe(kv))
		}
		if one.err != nil {
			continue
		}
		acked++
		if kv == nil && !missing(one.key) {
			return 0, fmt.Errorf("%s was acknowledged at revision %d and is lost", one.key, one.revision)
		}
		if kv != nil && kv.ModRevision != one.revision {
			return 0, fmt.Errorf("%s was acknowledged at revision %d and is {%s}", one.key, one.revision, describe(kv))
		}
	}
	return acked, nil
}

func nothingMissing(string) bool { return false }
