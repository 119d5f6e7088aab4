package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/bench"
)

// crowd is many watches of few streams, and what came to them.
type crowd struct {
	client  *clientv3.Client
	watches int
	ranges  int
	cancel  context.CancelFunc
	streams []*watchStream
	ended   sync.WaitGroup
	began   time.Time // stamps are counted from here
	puts    []atomic.Int64
}

// watchStream is one of them. What it counts may be read once it has ended.
type watchStream struct {
	stream  pb.Watch_WatchClient
	created chan error // one for each watch
	last    map[int64]int64
	delay   bench.Histogram
	events  atomic.Int64
	twice   int
}

const (
	crowdStreams = 100
	crowdPrefix  = "crowd/"
	stampBytes   = 8
)

func crowdRange(n int) string { return fmt.Sprintf("%s%06d/", crowdPrefix, n) }

// gather makes the watches, evenly over the ranges.
func gather(ctx context.Context, c *clientv3.Client, watches, ranges int) (*crowd, error) {
	ctx, cancel := context.WithCancel(ctx)
	w := &crowd{client: c, watches: watches, ranges: ranges, cancel: cancel, began: time.Now(),
		puts: make([]atomic.Int64, ranges)}
	streams := min(crowdStreams, watches)
	for n := range streams {
		s := &watchStream{created: make(chan error, watches), last: map[int64]int64{}}
		var err error
		if s.stream, err = pb.NewWatchClient(c.ActiveConnection()).Watch(ctx); err != nil {
			w.close()
			return nil, fmt.Errorf("open a stream of watches: %w", err)
		}
		w.streams = append(w.streams, s)
		w.ended.Go(func() { s.receive(w.began) })
		for i := n; i < watches; i += streams {
			if err = s.join(crowdRange(i % ranges)); err == nil {
				err = await1(ctx, s.created)
			}
			if err != nil {
				w.close()
				return nil, fmt.Errorf("watch %d of %d: %w", i, watches, err)
			}
		}
	}
	return w, nil
}

// await1 waits for one answer.
func await1(ctx context.Context, from <-chan error) error {
	late := time.NewTimer(callWithin)
	defer late.Stop()
	select {
	case err := <-from:
		return err
	case <-late.C:
		return fmt.Errorf("no answer within %v", callWithin)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join asks for a watch of all keys with a prefix.
func (s *watchStream) join(prefix string) error {
	return s.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
		CreateRequest: &pb.WatchCreateRequest{
			Key: []byte(prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(prefix))}}})
}

// leave asks for the end of a watch.
func (s *watchStream) leave(id int64) error {
	return s.stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
		CancelRequest: &pb.WatchCancelRequest{WatchId: id}}})
}

// receive counts events until the stream ends.
func (s *watchStream) receive(began time.Time) {
	for {
		answer, err := s.stream.Recv()
		if err != nil {
			s.created <- err
			return
		}
		now := time.Since(began)
		if answer.Created || answer.Canceled {
			err = nil
			if answer.CancelReason != "" {
				err = fmt.Errorf("watch canceled: %s", answer.CancelReason)
			}
			s.created <- err
		}
		for _, event := range answer.Events {
			s.see(answer.WatchId, event.Kv.ModRevision, event.Kv.Value, now)
		}
	}
}

// see counts an event. Each put has a revision of its own, so a watch has none of them twice.
func (s *watchStream) see(watch, revision int64, value []byte, now time.Duration) {
	if revision <= s.last[watch] {
		s.twice++
	}
	s.last[watch] = max(s.last[watch], revision)
	if len(value) >= stampBytes {
		s.delay.Add(now - time.Duration(binary.BigEndian.Uint64(value)))
	}
	s.events.Add(1)
}

// put puts a key of a range.
func (w *crowd) put(ctx context.Context, of int) error {
	stamp := binary.BigEndian.AppendUint64(make([]byte, 0, valueBytes), uint64(time.Since(w.began)))
	value := string(append(stamp, make([]byte, valueBytes-stampBytes)...))
	_, err := w.client.Put(ctx, crowdRange(of)+"key", value)
	if err == nil {
		w.puts[of].Add(1)
	}
	return err
}

// due is how many events there are to be, by what was put.
func (w *crowd) due() (events int64) {
	for n := range w.puts {
		watchers := w.watches / w.ranges
		if n < w.watches%w.ranges {
			watchers++
		}
		events += w.puts[n].Load() * int64(watchers)
	}
	return events
}

// came is how many events came so far.
func (w *crowd) came() (events int64) {
	for _, s := range w.streams {
		events += s.events.Load()
	}
	return events
}

// settle waits until as many events came as are due, but not for ever.
func (w *crowd) settle(ctx context.Context) {
	for end := time.Now().Add(callWithin); w.came() < w.due() && time.Now().Before(end); {
		if !until(ctx, time.Now().Add(10*time.Millisecond)) {
			return
		}
	}
}

// close ends the watches.
func (w *crowd) close() {
	w.cancel()
	w.ended.Wait()
}
