package etcdapi

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/watch"
)

// unsurePause lies between two questions to a primary that does not answer.
const unsurePause = time.Second

// unsure is a watch whose start lies too far ahead by what this node has. The primary is asked before it is refused: a
// client that comes from another region may have heard of a reign before this node did. The other watches of the stream
// neither wait for that nor end with it; only where there are none, and nobody answers, the client is better served
// elsewhere. What follows the request is guarded by the stream's mu.
type unsure struct {
	*watchStream
	id        int64
	request   *pb.WatchCreateRequest
	ctx       context.Context
	cancel    context.CancelFunc
	announced bool // as a watch of the future
}

// mustAsk reports whether a watch that begins at start is unsure.
func (a *API) mustAsk(start int64) bool { return start > a.store.Revision() && a.strange(start) }

// createUnsure has a watch begin, or end, as soon as the primary has answered. The caller holds mu.
func (w *watchStream) createUnsure(id int64, r *pb.WatchCreateRequest) error {
	u := &unsure{watchStream: w, id: id, request: r}
	if len(w.watches) > 0 {
		if err := u.announce(); err != nil {
			return err
		}
	}
	u.ctx, u.cancel = context.WithCancel(w.ctx)
	w.unsure[id] = u
	w.extra += extraOf(r)
	w.running.Go(u.run)
	return nil
}

// drop forgets a watch that is unsure. The caller holds mu.
func (w *watchStream) drop(u *unsure) {
	delete(w.unsure, u.id)
	w.extra -= extraOf(u.request)
}

func (u *unsure) announce() error {
	if u.announced {
		return nil
	}
	u.announced = true
	return u.stream.Send(&pb.WatchResponse{Header: u.header(u.store.Revision()), WatchId: u.id, Created: true})
}

// run asks until somebody answers, or it is known here.
func (u *unsure) run() {
	defer u.cancel()
	for u.mustAsk(u.request.StartRevision) {
		err := u.barrier(u.ctx)
		if err == nil {
			break
		}
		if !u.waits(err) {
			return
		}
	}
	u.decide()
}

// waits reports whether to ask once more, after a while, somebody who answered with err.
func (u *unsure) waits(err error) bool {
	u.mu.Lock()
	alone := len(u.watches) == 0
	if !alone {
		err = u.announce()
	}
	if err != nil && u.ctx.Err() == nil {
		u.fail(err)
	}
	u.mu.Unlock()
	if err != nil {
		return false
	}
	timer := u.clock.NewTimer(unsurePause)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-u.ctx.Done():
		return false
	}
}

// decide has the watch begin, or says that it cannot.
func (u *unsure) decide() {
	u.mu.Lock()
	defer u.unlock()
	if u.ctx.Err() != nil {
		return
	}
	u.watchStream.drop(u)
	watcher, err := u.open(u.request)
	var compacted *watch.CompactedError
	if err == nil || errors.As(err, &compacted) {
		err = errors.Join(u.announce(), err)
	}
	switch {
	case compacted != nil:
		err = u.sendCompacted(u.id, compacted.Revision)
	case err == nil:
		u.start(u.id, watcher, u.request)
	case watcher != nil:
		watcher.Close()
	}
	if err != nil {
		u.fail(err)
	}
	u.answerProgress()
}
