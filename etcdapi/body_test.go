package etcdapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

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

// messages are the JSON streams of a node, which reads them as the gateway does.
type messages struct {
	http.Handler
	came, over atomic.Int64 // messages, and calls
}

func newMessages() *messages {
	a := &API{}
	a.limits.at.Store(&limits{Limits: Limits{RequestBytes: DefaultRequestBytes}})
	m := &messages{}
	marshaler := boundedMarshaler{
		Marshaler: &runtime.HTTPBodyMarshaler{Marshaler: &runtime.JSONPb{}}, bytes: a.jsonBytes,
	}
	m.Handler = a.boundBodies(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		d := marshaler.NewDecoder(r.Body)
		go func() {
			for d.Decode(new(pb.WatchRequest)) == nil {
				m.came.Add(1)
			}
		}()
		<-r.Context().Done()
	}))
	return m
}

// begin begins a stream from an address, with a body that ends when the call has.
func (m *messages) begin(from string, body io.Reader) {
	r := httptest.NewRequest(http.MethodPost, "/v3/watch", body)
	r.RemoteAddr = from
	go func() {
		m.ServeHTTP(httptest.NewRecorder(), r)
		m.over.Add(1)
		if c, ok := body.(io.Closer); ok {
			c.Close()
		}
	}()
}

// half is a body that begins, and does not go on.
type half struct {
	io.Reader
	read *atomic.Int64
	end  context.Context
	stop context.CancelFunc
}

func (h half) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if h.read.Add(int64(n)); errors.Is(err, io.EOF) {
		<-h.end.Done()
	}
	return n, err
}

func (h half) Close() error {
	h.stop()
	return nil
}

// Messages of JSON streams that do not come whole take no more memory than other bodies, wherever they come from, keep
// no small ones waiting, and come in time, or their streams end.
func TestHalfMessagesOfJSONStreamsAreBounded(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		m, read := newMessages(), new(atomic.Int64)
		const streams, bytes, small = 200, 128 << 10, 1 << 10
		message := `{"create_request":{"key":"` + strings.Repeat("YWFh", bytes/4)
		end, stop := context.WithCancel(t.Context())
		defer stop()
		for i := range streams {
			one := half{Reader: strings.NewReader(message), read: read}
			one.end, one.stop = context.WithCancel(end)
			m.begin(fmt.Sprintf("10.0.%d.1:1", i), one)
		}
		quiet, w := io.Pipe()
		m.begin("10.1.0.1:1", quiet)
		virtual.Wait()
		if n := read.Load(); n > jsonBodiesBytes/2*bytes>>20 { // each may become a message of several MiB
			t.Errorf("%d KiB of half messages are held", n>>10)
		}
		for range 2 * streams {
			io.WriteString(w, `{"create_request":{"key":"`+strings.Repeat("YWFh", small/4)+`"}}`)
		}
		virtual.Wait()
		if n := m.came.Load(); n != 2*streams {
			t.Errorf("%d of %d small messages came beside them", n, 2*streams)
		}
		time.Sleep(time.Hour)
		virtual.Wait()
		if n := m.over.Load(); n != streams {
			t.Errorf("%d of %d streams have ended, of which nothing more comes", n, streams)
		}
		w.CloseWithError(io.ErrUnexpectedEOF)
	})
}

// A stream may have large messages, as many as it likes, one behind the other or not, and as slowly as other bodies
// come; each is read as it was sent.
func TestLargeMessagesOfAJSONStream(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		m := newMessages()
		r, w := io.Pipe()
		m.begin("10.0.0.1:1", r)
		sent := int64(0)
		for _, c := range []struct{ size, times int }{
			{1 << 10, 20}, {64 << 10, 20}, {64, 20}, {3 << 20, 2}, {8 << 10, 20},
		} {
			one := `{"create_request":{"key":"` + strings.Repeat("YWFh", c.size/4) + `"}}`
			go io.WriteString(w, strings.Repeat(one, c.times))
			virtual.Wait()
			if sent += int64(c.times); m.came.Load() != sent {
				t.Fatalf("of %d bytes: %d of %d messages came", c.size, m.came.Load(), sent)
			}
		}
		one := `{"create_request":{"key":"` + strings.Repeat("YWFh", 4<<10) + `"}}`
		for range 2 * jsonBodiesBytes / DefaultRequestBytes { // each is one of which much may come
			go io.WriteString(w, one)
			virtual.Wait()
			if sent++; m.came.Load() != sent {
				t.Fatalf("one by one: %d of %d messages came", m.came.Load(), sent)
			}
		}
		slow := `{"create_request":{"key":"` + strings.Repeat("YWFh", 1<<18) + `"}}`
		for ; len(slow) > 0; slow = slow[min(len(slow), 20<<10):] {
			io.WriteString(w, slow[:min(len(slow), 20<<10)])
			time.Sleep(time.Second)
		}
		virtual.Wait()
		if m.came.Load() != sent+1 || m.over.Load() != 0 {
			t.Errorf("a slow one did not come")
		}
		w.CloseWithError(io.ErrUnexpectedEOF)
		virtual.Wait()
		if m.over.Load() != 1 {
			t.Error("the call goes on without a body")
		}
	})
}
