package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/server/door"
)

// queue is a listener at which so many connections wait that come from one address, and no other.
type queue struct{ waiting int }

func (q *queue) Accept() (net.Conn, error) {
	if q.waiting == 0 {
		return nil, net.ErrClosed
	}
	q.waiting--
	near, far := net.Pipe()
	far.Close()
	return fromAfar{near}, nil
}

func (q *queue) Close() error   { return nil }
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

type fromAfar struct{ net.Conn }

func (fromAfar) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1} }

// Who makes one handshake after the other and asks something each time, whatever that is, is turned away in the end,
// and who showed a certificate that is taken is not.
func TestHandshakesThatNameNobodyCostSomething(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		const visits = 2500
		in := func(state *tls.ConnectionState) (n int) {
			d := door.New(&queue{visits}, door.Options{Most: visits, Strangers: visits})
			h := proving(http.NotFoundHandler())
			for {
				c, err := d.Accept()
				if err != nil {
					return n
				}
				n++
				r := httptest.NewRequest(http.MethodGet, "/x", nil)
				r.TLS = state
				ctx := context.WithValue(r.Context(), fromKey{}, c.RemoteAddr())
				h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
				c.Close()
			}
		}
		if n := in(&tls.ConnectionState{}); n > 2000 || n < 1990 {
			t.Errorf("%d are in who showed nothing", n)
		}
		if n := in(&tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}); n != visits {
			t.Errorf("%d are in who showed a certificate", n)
		}
		if n := in(nil); n != visits {
			t.Errorf("%d are in without TLS", n)
		}
	})
}
