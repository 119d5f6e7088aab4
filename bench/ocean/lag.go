package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench"
)

const (
	probePrefix     = "probe/"
	probesPerSecond = 100
)

// measureLag puts random data at half the line's rate, and small probes beside it, which are timed from the answer at
// us to the event of a watch at eu. The same is asked of plain TCP before.
func (o *ocean) measureLag(ctx context.Context, _ int) error {
	half := float64(o.megabits) * megabit / 2
	plain, err := o.lagTCP(ctx, half)
	if err != nil {
		return err
	}
	if err := o.together(ctx); err != nil {
		return err
	}
	lag, rate, err := o.lagOf(ctx, half)
	if err != nil {
		return err
	}
	behind := func(h *bench.Histogram, q float64) float64 {
		return float64(h.Quantile(q)-o.settings.line.Delay) / float64(time.Millisecond)
	}
	o.noteBeside("load while lag was measured", "Mbit/s", rate/megabit, "the line's rate", float64(o.megabits))
	for _, q := range []struct {
		name string
		of   float64
	}{{"median", 0.5}, {"p99", 0.99}} {
		p := behind(&plain, q.of)
		o.note("delivery by plain TCP less the one-way delay, "+q.name, "ms", p)
		o.noteBeside("lag less the one-way delay, "+q.name, "ms", behind(&lag, q.of), "that of plain TCP", p)
	}
	return nil
}

// together has eu run, and waits until it has all.
func (o *ocean) together(ctx context.Context) error {
	if err := o.eu.start(o.mimir); err != nil {
		return err
	}
	if o.eu.client == nil {
		if err := o.eu.connect(ctx); err != nil {
			return err
		}
	}
	to, err := o.us.revision(ctx)
	if err != nil {
		return err
	}
	return o.eu.reach(ctx, to, func(int64) {})
}

// times are when probes were answered at us and seen at eu.
type times struct {
	mutex          sync.Mutex
	answered, seen map[string]time.Time
}

// lagOf returns how late probes are while there is a load of so many bytes a second, and what load there was.
func (o *ocean) lagOf(ctx context.Context, bytesPerSecond float64) (lag bench.Histogram, rate float64, err error) {
	t := times{answered: map[string]time.Time{}, seen: map[string]time.Time{}}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	events := o.eu.client.Watch(clientv3.WithRequireLeader(watched), probePrefix, clientv3.WithPrefix(),
		clientv3.WithCreatedNotify())
	if created, ok := <-events; !ok || created.Err() != nil {
		return lag, 0, errors.Join(errors.New("no watch at eu"), created.Err(), ctx.Err())
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for answer := range events {
			t.note(t.seen, time.Now(), answer.Events)
		}
	})
	loading, end := context.WithTimeout(ctx, tcpWarmup+o.lasts)
	defer end()
	began := time.Now()
	bytes, err := o.loadAndProbe(loading, bytesPerSecond, &t, began.Add(tcpWarmup))
	rate = float64(bytes) / time.Since(began).Seconds()
	if err != nil {
		return lag, rate, err
	}
	if err := o.together(ctx); err != nil {
		return lag, rate, err
	}
	pause(ctx, time.Second) // for events that are on their way to the watch
	stop()
	watching.Wait()
	for key, at := range t.answered {
		seen, ok := t.seen[key]
		if !ok {
			return lag, rate, fmt.Errorf("probe %s was not seen at eu", key)
		}
		lag.Add(seen.Sub(at))
	}
	return lag, rate, nil
}

func (t *times) note(in map[string]time.Time, now time.Time, events []*clientv3.Event) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, e := range events {
		in[string(e.Kv.Value)] = now
	}
}

// loadAndProbe puts until ctx ends. Probes are noted from a time on.
func (o *ocean) loadAndProbe(ctx context.Context, bytesPerSecond float64, t *times, from time.Time) (int64, error) {
	var all sync.WaitGroup
	puts := make([]int64, writers)
	failed := make([]error, writers+1)
	for i := range writers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 2))
			failed[i] = paced(ctx, bytesPerSecond/valueBytes/writers, func() error {
				key := fmt.Sprintf("ocean/%08d", random.IntN(4096))
				_, err := o.us.client.Put(ctx, key, noise(random, valueBytes))
				if ctx.Err() != nil {
					return nil
				}
				puts[i]++
				return err
			})
		})
	}
	n := 0
	failed[writers] = paced(ctx, probesPerSecond, func() error {
		n++
		id := strconv.Itoa(n)
		_, err := o.us.client.Put(ctx, probePrefix+strconv.Itoa(n%100), id)
		now := time.Now()
		if ctx.Err() != nil {
			return nil
		}
		if now.After(from) {
			t.mutex.Lock()
			t.answered[id] = now
			t.mutex.Unlock()
		}
		return err
	})
	all.Wait()
	total := int64(0)
	for _, n := range puts {
		total += n * valueBytes
	}
	return total, errors.Join(failed...)
}
