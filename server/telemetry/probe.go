package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/transport"
)

const (
	// pingService is the stream on which a message comes back. The name is on the wire: never change it.
	pingService = "ping/1"
	// probeEvery is how often each node is probed, and how long its answer is waited for.
	probeEvery = 5 * time.Second
	// mostPingBytes bounds what comes back.
	mostPingBytes = 64
)

// answerPing sends one message back.
func answerPing(_ context.Context, s transport.Stream) error {
	p, err := s.Recv()
	if err != nil {
		return err
	}
	return s.Send(p[:min(len(p), mostPingBytes)])
}

// Probe measures the way to every other node and back, until ctx ends.
func (w *Wire) Probe(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		w.probe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// probe does it once.
func (w *Wire) probe(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	w.mu.Lock()
	w.know()
	addrs := map[*remote]string{}
	for _, n := range w.nodes {
		addrs[n] = n.Addrs[0]
	}
	w.mu.Unlock()
	var all sync.WaitGroup
	for n, addr := range addrs {
		all.Go(func() {
			took, err := w.ping(bounded, addr)
			switch {
			case err == nil:
				n.trip.Observe(took.Seconds())
				n.etcdTrip.Observe(took.Seconds())
			case ctx.Err() == nil:
				w.to(addr).failures.Add(1)
			}
		})
	}
	all.Wait()
}

// ping returns how long a message took there and back. A node of a version that does not know this answers too: by
// saying so. What a probe carries is not counted.
func (w *Wire) ping(ctx context.Context, addr string) (time.Duration, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := w.Transport.Open(inner, addr, pingService)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := errors.Join(s.Send([]byte{0}), s.CloseSend()); err != nil {
		return 0, err
	}
	if _, err := s.Recv(); err != nil && !errors.Is(err, transport.ErrNoService) {
		return 0, err
	}
	return time.Since(began), nil
}
