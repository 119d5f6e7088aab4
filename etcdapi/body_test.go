package etcdapi

import (
	"io"
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
