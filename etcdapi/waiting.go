package etcdapi

import (
	"bytes"
	"context"
	"sync"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
)

// waiting is a request that asks for more as long as it lives, such as one for a lock. Whoever was permitted when it
// began goes on as the user that he was then: his token may expire, and grow old by changes of users and roles, but
// what he may is judged by the state of now, and nothing is left of him once the user is gone or has another password.
// That is judged at each step; what a watch under way sees is not asked again.
type waiting struct {
	mu       sync.Mutex
	user     string
	key      []byte // of the user, as it was when his token was read; nil: no token was
	admitted bool
}

type waitingKey struct{}

// toWait returns the context for what a request that waits asks for.
func toWait(ctx context.Context) context.Context {
	return context.WithValue(ctx, waitingKey{}, &waiting{})
}

// waitingOf returns what a request waits as, nil if it does not.
func waitingOf(ctx context.Context) *waiting {
	w, _ := ctx.Value(waitingKey{}).(*waiting)
	return w
}

// admit says that the request was permitted.
func (w *waiting) admit() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.admitted = true
}

// read takes note of whose token was read. One that was old already says nothing of later.
func (w *waiting) read(s *auth.State, id auth.Identity) {
	if w == nil || id.Revision < s.Revision() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if key, ok := s.UserKey(id.User); ok && !w.admitted {
		w.user, w.key = id.User, key
	}
}

// as returns as whom a request goes on; known is false if it has to show that.
func (w *waiting) as(s *auth.State) (id auth.Identity, known bool, err error) {
	if w == nil {
		return auth.Identity{}, false, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.admitted || w.key == nil {
		return auth.Identity{}, false, nil
	}
	if key, ok := s.UserKey(w.user); !ok || !bytes.Equal(key, w.key) {
		return auth.Identity{}, true, command.ErrInvalidAuthToken
	}
	id = auth.Identity{User: w.user, Revision: s.Revision(), Present: true}
	id.Basis, _ = s.Basis(w.user)
	return id, true, nil
}
