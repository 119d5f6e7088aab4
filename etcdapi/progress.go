package etcdapi

import (
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/watch"
)

// A progress notification at revision R says: every event up to R has been sent, and none after it. Clients resume from
// there after a broken connection, so it must neither be ahead of what was sent nor behind it, and behind nothing that
// the client had when it began. So nothing is said of a watch that begins after R, nor, with others, of one that still
// reads from disk. What waits in memory is sent first: then R is where the store is. A watch that reads much from disk
// in which there is nothing for it is told by itself, if it asked for that, to where it has come: one that is broken
// off then begins there.

// requestProgress answers a client that asks how far all watches of the stream are.
func (w *watchStream) requestProgress() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() == nil {
		w.asked = true
		w.answerProgress()
	}
}

// answerProgress answers a client that has asked, once it can be said of all watches that they are at one revision. As
// in etcd, a stream without watches gets no answer, nor one with a watch that begins later. The caller holds mu.
func (w *watchStream) answerProgress() {
	if !w.asked {
		return
	}
	all, now := make([]*oneWatch, 0, len(w.watches)), w.store.Revision()
	for _, one := range w.watches {
		if one.start > now || len(w.unsure) > 0 {
			all = nil
			break
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		w.asked = false
		return
	}
	if revision, ok := w.align(all); ok {
		w.asked = false
		w.sendProgress(noWatch, revision)
	}
}

// align sends what waits for watches, so that every event up to the revision that it returns has been sent to each of
// them, and none after it; false if that is not so yet, or the stream has failed. The caller holds mu.
func (w *watchStream) align(all []*oneWatch) (revision int64, ok bool) {
	watchers := make([]*watch.Watcher, len(all))
	for i, one := range all {
		watchers[i] = one.watcher
	}
	batches, revision, ok := watch.Align(watchers)
	for i, those := range batches {
		for _, batch := range those {
			if err := w.sendEvents(all[i], batch); err != nil {
				w.fail(err)
				return 0, false
			}
		}
	}
	return revision, ok
}

// notifyQuiet sends their own progress to watches that asked for it and were quiet since the last call.
func (w *watchStream) notifyQuiet() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.watches {
		if one.notify && one.quiet {
			if revision, ok := w.align([]*oneWatch{one}); ok && one.quiet {
				w.sendProgress(one.id, revision)
			}
		}
		one.quiet = true
	}
}

// notifyReading sends its own progress to a watch that asked for it, and has read from disk what had nothing for it,
// with more behind that. The caller holds mu.
func (w *watchStream) notifyReading(one *oneWatch) {
	if !one.notify {
		return
	}
	if revision := one.watcher.Progress(); revision >= one.start && revision < w.store.Revision() {
		w.sendProgress(one.id, revision)
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
