package admin

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// slowState is one that is read when the test says so.
type slowState struct {
	fakeState
	goOn chan struct{}
}

func (s slowState) Open(string) (State, error) { return s, nil }

func (s slowState) Each(after int64, visit func(*mvccpb.Event) error) error {
	<-s.goOn
	return s.fakeState.Each(after, visit)
}

// slowTail is one that is read when the test says so.
type slowTail struct {
	*fake
	now  atomic.Int32 // readers of it
	goOn chan struct{}
}

func (s *slowTail) ReadTail(
	ctx context.Context, name string, visit func(replication.Epoch, replication.Position, replication.Command) error,
) error {
	s.now.Add(1)
	defer s.now.Add(-1)
	<-s.goOn
	return s.fake.ReadTail(ctx, name, visit)
}

// asked has a handler answer, to somebody at an address.
func asked(h http.Handler, path, from string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.RemoteAddr = from
	h.ServeHTTP(w, r)
	return w
}

func handlerOf(r Replicator, s States) http.Handler {
	return NewHandler(HandlerOptions{
		Replicator: r, Logger: slog.New(slog.DiscardHandler), States: s,
		Guard: func(_ string, h http.Handler) http.Handler { return h },
	})
}

// Who waits for the state beside a tail, while others take their time with as many as may be read, or with all that one
// address may, is told so, and who that is. One address leaves a place for another.
func TestWhoWaitsForAStateIsToldWhoHasIt(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := slowState{goOn: make(chan struct{})}
		h, done := handlerOf(&fake{}, s), make(chan int, stateRoom)
		const path = "/mimir/v1/tails/t/state"
		read := func(from string) {
			go func() { done <- asked(h, path, from).Code }()
			time.Sleep(time.Second)
		}
		refused := func(from string) {
			began := time.Now()
			w := asked(h, path, from)
			if w.Code != http.StatusServiceUnavailable || time.Since(began) != placeTime ||
				!strings.Contains(w.Body.String(), "the state beside tail t is read by 10.0.0.1:5 since ") {
				t.Errorf("%s waits %v: %d %s", from, time.Since(began), w.Code, w.Body)
			}
		}
		read("10.0.0.1:5")
		read("10.0.0.1:6")
		refused("10.0.0.1:7")
		read("10.0.0.2:5")
		if time.Sleep(2 * placeTime); len(done) > 0 {
			t.Errorf("%d of those who have a place are told that there is none", len(done))
		}
		refused("10.0.0.3:5")
		close(s.goOn)
		for range 3 {
			if code := <-done; code != http.StatusOK {
				t.Errorf("one is told %d", code)
			}
		}
		if w := asked(h, path, "10.0.0.2:6"); w.Code != http.StatusOK {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
}

// Readers of tails from one address leave places for others.
func TestReadersOfTailsShareThePlaces(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		s := &slowTail{fake: &fake{whole: -1}, goOn: make(chan struct{})}
		h, done := handlerOf(s, fakeState{}), make(chan int)
		read := func(from string) { done <- asked(h, "/mimir/v1/tails/t", from).Code }
		const readers = 2 * mostTails
		for range readers {
			go read("10.0.0.1:5")
		}
		virtual.Wait()
		if n := s.now.Load(); n != mostTails/2 {
			t.Errorf("%d readers of one address", n)
		}
		go read("10.0.0.2:5")
		if virtual.Wait(); s.now.Load() != mostTails/2+1 {
			t.Error("one of another address waits")
		}
		close(s.goOn)
		for range readers + 1 {
			if code := <-done; code != http.StatusOK {
				t.Errorf("one is told %d", code)
			}
		}
	})
}

// unreadAnswer is one that is taken when the test says so.
type unreadAnswer struct {
	*httptest.ResponseRecorder
	goOn chan struct{}
}

func (u unreadAnswer) Write(p []byte) (int, error) {
	<-u.goOn
	return u.ResponseRecorder.Write(p)
}

// Nobody waits for those who do not take their answers.
func TestWhoDoesNotReadHasNoPlace(t *testing.T) {
	for path, method := range map[string]string{
		"/mimir/v1/tails": http.MethodGet, "/mimir/v1/tails/t/fork": http.MethodGet,
		"/mimir/v1/digest": http.MethodPost,
	} {
		virtual.Test(t, func(t *testing.T) {
			h, goOn, done := handlerOf(&fake{}, fakeState{}), make(chan struct{}), make(chan bool)
			ask := func(w http.ResponseWriter) {
				h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("{}")))
				done <- true
			}
			const idle = mostLooks + mostDigests
			for range idle {
				go ask(unreadAnswer{httptest.NewRecorder(), goOn})
			}
			virtual.Wait()
			began, w := time.Now(), httptest.NewRecorder()
			go ask(w)
			if <-done; w.Code == http.StatusServiceUnavailable || w.Body.Len() == 0 || time.Since(began) > 0 {
				t.Errorf("%s: answered %d after %v", path, w.Code, time.Since(began))
			}
			close(goOn)
			for range idle {
				<-done
			}
		})
	}
}
