package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// slowTails answers when the test says so.
type slowTails struct {
	*fake
	now  atomic.Int32 // questions under way
	goOn chan struct{}
}

func (s *slowTails) Tails(ctx context.Context) ([]replication.TailInfo, error) {
	s.now.Add(1)
	defer s.now.Add(-1)
	<-s.goOn
	return s.fake.Tails(ctx)
}

// Whatever is asked about all tails reads all of them: so many at a time, and the others wait for as long as who asks.
func TestLooksAtAllTailsWaitForEachOther(t *testing.T) {
	for _, path := range []string{"/mimir/v1/tails", "/mimir/v1/tails/t/fork"} {
		virtual.Test(t, func(t *testing.T) {
			s := &slowTails{fake: &fake{}, goOn: make(chan struct{})}
			h := NewHandler(HandlerOptions{
				Replicator: s, Logger: slog.New(slog.DiscardHandler), States: fakeState{},
				Guard: func(_ string, h http.Handler) http.Handler { return h },
			})
			const asked = 3 * mostLooks
			done := make(chan int, asked+1)
			ask := func(ctx context.Context) {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", path, http.NoBody))
				done <- w.Body.Len()
			}
			for range asked {
				go ask(t.Context())
			}
			virtual.Wait()
			if n := s.now.Load(); n != mostLooks {
				t.Errorf("%s: %d are answered at a time", path, n)
			}
			left, leave := context.WithCancel(t.Context())
			leave()
			if ask(left); <-done != 0 {
				t.Errorf("%s: who has left is answered", path)
			}
			close(s.goOn)
			for range asked {
				if <-done == 0 {
					t.Errorf("%s: one was not answered", path)
				}
			}
		})
	}
}
