package etcdapi

import (
	"math"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// A progress notification at revision R says: every event up to R has been sent. Clients resume from there after a
// broken connection, so it must never be ahead of what was sent. Only the goroutine of a watch knows when it holds no
// events; so it is asked, and answers between two waits.

// requestProgress answers a client that asks how far all watches of the stream are. A stream without watches gets no
// answer, as in etcd.
func (w *watchStream) requestProgress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.askAll()
}

// askAll asks every watch, and sends the least of the answers once all are in. If a watch was created in the meantime,
// it asks again: the notification is for all watches of the stream. The caller holds mu.
func (w *watchStream) askAll() {
	missing, created := len(w.watches), w.created
	target, floor := w.store.Revision(), int64(math.MaxInt64)
	for _, one := range w.watches {
		w.ask(one, func(progress int64) {
			if one.start <= target && !one.gone {
				floor = min(floor, progress)
			}
			if missing--; missing > 0 {
				return
			}
			switch {
			case w.created != created:
				w.askAll()
			case len(w.watches) > 0:
				w.sendProgress(noWatch, min(floor, target))
			}
		})
	}
}

// notifyQuiet sends their own progress to watches that asked for it and were quiet since the last call.
func (w *watchStream) notifyQuiet() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.watches {
		if one.notify && one.quiet {
			w.ask(one, func(progress int64) {
				if !one.gone && progress >= one.start {
					w.sendProgress(one.id, progress)
				}
			})
		}
		one.quiet = true
	}
}

// sendProgress sends a notification. A failure is that of the stream, which ends by itself. The caller holds mu.
func (w *watchStream) sendProgress(id, revision int64) {
	if err := w.stream.Send(&pb.WatchResponse{Header: w.header(revision), WatchId: id}); err != nil {
		w.fail(err)
	}
}

func randomDuration(below time.Duration) time.Duration {
	if below <= 0 {
		return 0
	}
	return rand.N(below)
}
