package admin

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/mimir-kv/mimir/etcdapi/share"
)

const (
	// mostTails is how many tails are read at a time, of which those from one address are no more than half: each has
	// files open. So it is of the states beside them, of which stateRoom are: from one address half, which leave room
	// for another one from elsewhere. The others wait.
	mostTails, stateRoom = 8, 4
	// placeTime is how long one waits.
	placeTime = 30 * time.Second
)

// places are those at which something is read. They are shared by where readers come from, and who waits is told in the
// end who has one: how slowly somebody may read what he was given is not said, since whoever replays a tail does that
// with each of its commands. It is safe for concurrent use.
type places struct {
	room *share.Room

	mu    sync.Mutex
	taken map[*reader]bool
}

// reader is who has a place.
type reader struct {
	from, what string
	since      time.Time
}

func newPlaces(room int64) *places { return &places{room: share.New(room), taken: map[*reader]bool{}} }

// take returns with a place for what is read; or false if the client has left, or was told that there is none.
func (p *places) take(w http.ResponseWriter, r *http.Request, what string) (leave func(), ok bool) {
	ctx, cancel := context.WithTimeout(r.Context(), placeTime)
	defer cancel()
	release, err := p.room.Acquire(ctx, r.RemoteAddr, 1)
	if err != nil {
		if r.Context().Err() == nil {
			refuse(w, http.StatusServiceUnavailable, p.full())
		}
		return nil, false
	}
	one := &reader{r.RemoteAddr, what, time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[one] = true
	return func() {
		p.mu.Lock()
		delete(p.taken, one)
		p.mu.Unlock()
		release()
	}, true
}

// full says that there is no place, and who has one for longest.
func (p *places) full() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var first *reader
	for one := range p.taken {
		if first == nil || one.since.Before(first.since) {
			first = one
		}
	}
	text := "as many tails are read at this node as may be, or from this address: try again later"
	if first != nil {
		text += fmt.Sprintf("; %s is read by %s since %s", first.what, first.from,
			first.since.UTC().Format(time.RFC3339))
	}
	return text
}

// answerOf answers with what look returns, which holds a place of turns. Nobody waits for one until others have read
// their answers.
func answerOf(w http.ResponseWriter, turns *semaphore.Weighted, look func() (any, error)) {
	v, err := func() (any, error) {
		defer turns.Release(1)
		return look()
	}()
	answer(w, v, err)
}
