package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/console"
)

// Looker makes a picture of the fleet for the console, by asking nodes through a client whose first endpoint is this
// node.
type Looker func(ctx context.Context, client *admin.Client) (*console.Picture, error)

// newConsole returns the page on which people see the fleet, nil if nobody makes pictures for it. The node is asked as
// handler answers.
func (s *server) newConsole(look Looker, handler http.Handler) (*console.Console, error) {
	if look == nil {
		return nil, nil
	}
	client, err := admin.NewClient([]string{"http://" + thisNode}, nil)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	client = client.Through(newInside(s.config, sound(handler, s.logger)))
	return console.New(console.Options{
		Look: func(ctx context.Context) (p *console.Picture, err error) {
			defer survive(s.logger, "a picture for the console", &err)
			p, err = look(ctx, client)
			if err == nil && ctx.Err() == nil { // else the store may be closed
				p.Leases = s.store.Metrics().Leases
			}
			return p, err
		},
		Greeting: func() console.Greeting {
			r := &s.config.Replication
			return console.Greeting{
				Node: r.NodeID, Region: r.RegionID, Version: s.version, Everybody: s.gate.Everybody(),
			}
		},
		Slow:     s.slow.last,
		Settings: func() []console.Setting { return inForce(s.settled.now()) },
	}), nil
}

// survive makes an error of a panic in what a node does for somebody who looks at it, and not for its region: that goes
// on. It is deferred.
func survive(logger *slog.Logger, what string, err *error) {
	v := recover()
	if v == nil {
		return
	}
	logger.Error("the node goes on after a panic", "in", what, "err", v)
	logger.Debug("panic", "stack", string(debug.Stack()))
	*err = fmt.Errorf("%w in %s: %v; the node's log has more", errPanic, what, v)
}

// errPanic is a bug of Mimir.
var errPanic = errors.New("panic, which is a bug of Mimir,")

// inForce returns those in force, in the order of docs/configuration.md.
func inForce(now Config) (list []console.Setting) {
	preset := DefaultConfig()
	for i := range settings {
		one := console.Setting{Key: settings[i].key, Value: settings[i].get(&now)}
		switch from, set := now.origins[one.Key]; {
		case set:
			one.From = from
		case one.Value == settings[i].get(&preset):
			one.From = "default"
		default:
			one.From = "follows from other settings, or from one of etcd"
		}
		list = append(list, one)
	}
	return list
}

// thisNode is the host under which the console asks its own node. It is a name that no address has.
const thisNode = "this-node.invalid"

// inside asks this node within the process, and the others as a client with this node's certificate for clients: what
// they tell nobody without one they tell the console if their authority signed that.
type inside struct {
	own     map[string]bool // hosts with ports
	handler http.Handler
	others  http.RoundTripper
}

const (
	dialOthers   = time.Second
	idleToOthers = time.Minute
)

func newInside(c *Config, handler http.Handler) *inside {
	own := map[string]bool{thisNode: true}
	for _, text := range c.ClientURLs() {
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			own[u.Host] = true
		}
	}
	dialer := &net.Dialer{Timeout: dialOthers}
	return &inside{own: own, handler: handler, others: &http.Transport{
		DialContext: dialer.DialContext, IdleConnTimeout: idleToOthers, MaxIdleConnsPerHost: 2,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			secure, err := asClient(c, address)
			if err != nil {
				return nil, err
			}
			return (&tls.Dialer{NetDialer: dialer, Config: secure}).DialContext(ctx, network, address)
		},
	}}
}

// asClient returns a configuration of TLS with which this node is a client of another, of the files as they are now.
func asClient(c *Config, address string) (*tls.Config, error) {
	secure, err := ClientTLSConfig(c.ClientTLS, false)
	if err != nil {
		return nil, err
	}
	if secure == nil { // it has none, and the other has
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	secure.ServerName, secure.NextProtos = host, []string{"http/1.1"}
	return secure, nil
}

// RoundTrip implements http.RoundTripper.
func (i *inside) RoundTrip(r *http.Request) (*http.Response, error) {
	if !i.own[r.URL.Host] {
		return i.others.RoundTrip(r)
	}
	w := i.answer(r)
	return &http.Response{
		Status: http.StatusText(w.code), StatusCode: w.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// answer has this node answer. A panic ends the request alone, as it does where it comes from outside.
func (i *inside) answer(r *http.Request) (w *taken) {
	defer func() {
		if recover() != nil {
			w = &taken{header: http.Header{}, code: http.StatusInternalServerError}
			io.WriteString(w, "the answer panicked\n") //nolint:errcheck // it is memory
		}
	}()
	w = &taken{header: http.Header{}, code: http.StatusOK}
	i.handler.ServeHTTP(w, r)
	return w
}

// CloseIdleConnections is for http.Client.
func (i *inside) CloseIdleConnections() {
	if t, ok := i.others.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// taken is an answer that stays within the process.
type taken struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (t *taken) Header() http.Header { return t.header }

// WriteHeader implements http.ResponseWriter.
func (t *taken) WriteHeader(code int) { t.code = code }

// Write implements http.ResponseWriter.
func (t *taken) Write(p []byte) (int, error) { return t.body.Write(p) }
