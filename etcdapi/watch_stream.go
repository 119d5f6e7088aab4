package etcdapi

import (
	"context"
	"errors"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/kv/watch"
)

// watchStream is one client's stream and the watches on it. Every watch has a goroutine that waits for its events and
// sends them: a client that reads slowly holds up nobody but its own stream, and the store keeps what it has not taken
// on disk. Events are taken from the store with mu held: whoever holds it knows that all that was taken was sent.
type watchStream struct {
	*API
	stream grpc.BidiStreamingServer[pb.WatchRequest, pb.WatchResponse]
	ctx    context.Context
	fail   context.CancelCauseFunc // ends the stream
	began  time.Time

	running sync.WaitGroup

	// mu is held while sending, so that the order of what is sent is the order of what was decided under it.
	mu      sync.Mutex
	watches map[int64]*oneWatch
	unsure  map[int64]*unsure
	ended   map[int64]bool // ended by compaction; the client may still cancel them, and the IDs are in use until then
	nextID  int64
	asked   bool // the client waits for a notification about all watches
	ticking bool // notifyProgress runs
	extra   int  // watches that those which are there count for beside themselves, for their keys
	counted int  // watches that all know of
}

// oneWatch is one watch of a stream.
type oneWatch struct {
	id       int64
	watcher  *watch.Watcher
	start    int64 // first revision asked for, zero for from now on
	notify   bool
	fragment bool
	extra    int

	ctx    context.Context
	cancel context.CancelFunc

	// What follows is guarded by the stream's mu.
	gone  bool
	quiet bool // no events were sent since the last tick of notifyProgress, or since it began
}

// start begins to send the events of a watch that was announced. The caller holds mu.
func (w *watchStream) start(id int64, watcher *watch.Watcher, r *pb.WatchCreateRequest) {
	one := &oneWatch{
		id: id, watcher: watcher, start: r.StartRevision, notify: r.ProgressNotify, fragment: r.Fragment, quiet: true,
		extra: extraOf(r),
	}
	w.extra += one.extra
	one.ctx, one.cancel = context.WithCancel(w.ctx)
	w.watches[id] = one
	if one.notify && !w.ticking {
		w.ticking = true
		w.running.Go(w.notifyProgress)
	}
	w.running.Go(func() { w.run(one) })
}

// run sends the events of one watch until it ends.
func (w *watchStream) run(one *oneWatch) {
	defer one.watcher.Close()
	for w.room(one.ctx) == nil && one.watcher.Ready(one.ctx) == nil && w.deliver(one) {
	}
}

// deliver sends what waits for a watch; false if the watch has ended.
func (w *watchStream) deliver(one *oneWatch) bool {
	w.mu.Lock()
	defer w.unlock()
	if one.gone {
		return false
	}
	batch, err := one.watcher.Take()
	if err == nil {
		err = w.sendEvents(one, batch)
	}
	switch {
	case err != nil:
		w.end(one, err)
	case len(batch.Events) == 0:
		w.notifyReading(one)
	}
	w.answerProgress()
	return err == nil
}

// sendEvents sends a batch, unless it is empty. The caller holds mu.
func (w *watchStream) sendEvents(one *oneWatch, batch watch.Batch) error {
	if len(batch.Events) == 0 {
		return nil
	}
	one.quiet = false
	response := &pb.WatchResponse{Header: w.header(batch.Revision), WatchId: one.id, Events: batch.Events}
	if one.fragment {
		return sendFragments(response, w.limits.now().RequestBytes+requestOverheadBytes, w.stream.Send)
	}
	return w.stream.Send(response)
}

// end tells the client why a watch ended by itself. If the node or stream is going, the stream goes with it: the client
// resumes all of its watches elsewhere. The caller holds mu.
func (w *watchStream) end(one *oneWatch, err error) {
	w.remove(one)
	var compacted *watch.CompactedError
	if errors.As(err, &compacted) {
		err = w.sendCompacted(one.id, compacted.Revision)
	}
	if err != nil {
		w.fail(err)
	}
}

// sendCompacted says that a watch cannot go on because this history does not have what it needs. Clients take only a
// positive compaction revision for the reason; without one they end a watch and say nothing. The revision of such a
// header is zero, as in etcd. The caller holds mu.
func (w *watchStream) sendCompacted(id, revision int64) error {
	w.ended[id] = true
	return w.stream.Send(&pb.WatchResponse{Header: w.header(0), WatchId: id, Canceled: true, CompactRevision: revision})
}

// remove forgets a watch; nothing more is sent for it. The caller holds mu.
func (w *watchStream) remove(one *oneWatch) {
	one.gone = true
	one.cancel()
	w.extra -= one.extra
	delete(w.watches, one.id)
}

// close ends all watches and waits for their goroutines. No watch is started or cancelled after that: who does looks at
// the context with mu held.
func (w *watchStream) close() {
	w.mu.Lock()
	w.fail(context.Canceled)
	w.unlock()
	w.running.Wait()
}

// unlock has the watches counted that the stream has now: none, once it has ended. The caller holds mu, and has it no
// longer.
func (w *watchStream) unlock() {
	has := w.count()
	if w.ctx.Err() != nil {
		has = 0
	}
	w.watching.changed(w.counted, has)
	w.counted = has
	w.mu.Unlock()
}

// jitter is the fraction of the interval that is added at random to it.
const jitter = 10

// notifyProgress tells quiet watches that asked for it how far they are, from time to time.
func (w *watchStream) notifyProgress() {
	bound := w.limits.now()
	ticker := w.clock.NewTicker(progressInterval(bound))
	defer func() { ticker.Stop() }()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-bound.replaced:
			ticker.Stop()
			bound = w.limits.now()
			ticker = w.clock.NewTicker(progressInterval(bound))
		case <-ticker.C():
			w.notifyQuiet()
		}
	}
}

func progressInterval(l *limits) time.Duration {
	return max(l.ProgressInterval+randomDuration(l.ProgressInterval/jitter), time.Millisecond)
}
