package etcdapi

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// Who sends large bodies slowly, over many connections, keeps nobody else waiting.
func TestWhoSendsSlowlyKeepsNobodyElseWaiting(t *testing.T) {
	for address, others := range map[string][]string{
		"10.0.0.1:1":          {"10.0.0.2:1", "[2001:db8::1]:1", "@"},
		"[2001:db8::1]:1":     {"10.0.0.2:1", "[2001:db8:0:1::1]:1", "[2001:db8:1::1]:1"},
		"[::ffff:10.0.0.1]:1": {"10.0.0.2:1"},
		"@":                   {"10.0.0.2:1"},
	} {
		virtual.Test(t, func(t *testing.T) {
			a := &API{}
			a.limits.at.Store(&limits{Limits: Limits{RequestBytes: DefaultRequestBytes}})
			h := a.boundBodies(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
			}))
			ask := func(from string, body io.Reader) (answered chan bool) {
				r := httptest.NewRequest(http.MethodPost, "/v3/kv/put", body)
				r.RemoteAddr = from
				answered = make(chan bool, 1)
				go func() {
					h.ServeHTTP(httptest.NewRecorder(), r)
					answered <- true
				}()
				return answered
			}
			var slow []io.Closer
			for range 100 {
				r, w := io.Pipe()
				ask(address, r)
				slow = append(slow, w)
			}
			virtual.Wait()
			for _, other := range others {
				large, w := io.Pipe() // as large as any, as far as it says
				for _, body := range []io.Reader{strings.NewReader("{}"), large} {
					answered := ask(other, body)
					w.Close()
					virtual.Wait()
					if len(answered) == 0 {
						t.Errorf("beside %s a body from %s waits", address, other)
					}
				}
			}
			for _, w := range slow {
				w.Close()
			}
		})
	}
}

// Whoever comes, waits and leaves: no more is held than there is room for, who is alone has whatever is taken, everybody
// comes in at last, and nothing stays in the books.
func TestBodiesComeInAndLeave(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		b := &bodies{}
		r := rand.New(rand.NewPCG(1, 2))
		type held struct {
			release chan func()
			cancel  func()
		}
		var all []held
		for range 2000 {
			if len(all) > 0 && r.IntN(5) < 2 {
				n := r.IntN(len(all))
				one := all[n]
				all[n] = all[len(all)-1]
				all = all[:len(all)-1]
				if r.IntN(4) == 0 {
					one.cancel()
				}
				virtual.Wait()
				select {
				case release := <-one.release:
					release()
				default:
					all = append(all, one)
				}
				virtual.Wait()
				continue
			}
			address := fmt.Sprintf("10.0.0.%d:1", r.IntN(5))
			if r.IntN(2) == 0 {
				address = fmt.Sprintf("[2001:db8:%x:%x::1]:1", r.IntN(2), r.IntN(4))
			}
			ctx, cancel := context.WithCancel(t.Context())
			one := held{make(chan func(), 1), cancel}
			all = append(all, one)
			bytes := int64(1 + r.IntN(jsonBodyBytes>>uint(r.IntN(8))))
			go func() {
				release, err := b.acquire(ctx, address, bytes)
				if err != nil {
					release = func() {}
				}
				one.release <- release
			}()
			virtual.Wait()
			if b.all.held > jsonBodiesBytes {
				t.Fatalf("%d bytes are held", b.all.held)
			}
		}
		for len(all) > 0 {
			in := false
			for n := len(all) - 1; n >= 0; n-- {
				select {
				case release := <-all[n].release:
					release()
					in = true
					all[n].cancel()
					all = append(all[:n], all[n+1:]...)
				default:
				}
			}
			if virtual.Wait(); !in {
				t.Fatalf("%d wait for nobody", len(all))
			}
		}
		if b.all.held != 0 || len(b.all.parts)+len(b.waiting) != 0 {
			t.Errorf("left are %d bytes of %d, %d wait", b.all.held, len(b.all.parts), len(b.waiting))
		}
		release, err := b.acquire(t.Context(), "10.0.0.1:1", jsonBodyBytes)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.acquire(ctx, "10.0.0.2:1", jsonBodyBytes); err == nil || len(b.all.parts) != 1 {
			t.Errorf("who has left is one of %d: %v", len(b.all.parts), err)
		}
		release()
	})
}
