package server

import (
	"context"
	"expvar"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/server/console"
	"github.com/mimir-kv/mimir/server/door"
	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/replays"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// routes are the handlers that the client port and listen-http are made of.
type routes struct {
	api      http.Handler // etcd's pages and the JSON gateway
	admin    http.Handler
	registry *prometheus.Registry
	console  *console.Console // nil: there is none
	replays  *replays.Runner  // nil: there is none
	guard    func(pattern string, h http.Handler) http.Handler
}

// handle registers a handler behind the gate.
func (r *routes) handle(mux *http.ServeMux, pattern string, h http.Handler) {
	mux.Handle(pattern, r.guard(pattern, h))
}

// client returns what the client port serves over HTTP/1.1.
func (r *routes) client(profiles bool) http.Handler {
	mux := http.NewServeMux()
	r.handle(mux, "/v3/", r.api)
	r.handle(mux, "/v3beta/", r.api)
	r.operate(mux)
	r.handle(mux, "GET /debug/vars", expvar.Handler())
	r.observe(mux, profiles)
	r.show(mux, true)
	return mux
}

// private returns what listen-http serves. The operator's calls are there only if the client port is open to everyone
// as well: otherwise this port, which asks for no certificate of client-tls.ca, would be a way around them. Profiles
// are there where they are asked for, and variables beside either. All of that wants the operator's right, for which
// on this port a certificate of http-tls.ca counts, but never as that of a user; metrics and pages of health are for
// whoever http-tls lets in. So it is with the console: where the operator's calls are not, the fleet is shown to
// operators alone, and to log in as one is possible here too.
func (r *routes) private(admin, profiles bool) http.Handler {
	mux := http.NewServeMux()
	if admin {
		r.operate(mux)
	}
	if admin || profiles {
		r.handle(mux, "GET /debug/vars", expvar.Handler())
	}
	r.observe(mux, profiles)
	if r.console != nil {
		r.handle(mux, "POST /v3/auth/authenticate", r.api)
	}
	r.show(mux, admin)
	return operator.Apart(mux)
}

// operate adds the operator's calls.
func (r *routes) operate(mux *http.ServeMux) {
	r.handle(mux, "/mimir/v1/", r.admin)
	if r.replays == nil {
		return
	}
	for pattern, h := range r.replays.Handlers() {
		r.handle(mux, pattern, h)
	}
}

// show adds the console: the page is for anyone, since it has nothing in it, and the fleet for whoever may ask for its
// status at this port, or for operators alone.
func (r *routes) show(mux *http.ServeMux, open bool) {
	if r.console == nil {
		return
	}
	r.handle(mux, "GET /console/", http.HandlerFunc(r.console.Page))
	if open {
		r.handle(mux, "GET /console/events", http.HandlerFunc(r.console.Events))
	}
	r.handle(mux, "GET /console/operator/events", http.HandlerFunc(r.console.OperatorEvents))
	r.handle(mux, "GET /console/operator/settings", http.HandlerFunc(r.console.Settings))
	r.handle(mux, "GET /console/operator/slow", http.HandlerFunc(r.console.Slow))
}

// observe adds what both ports serve.
func (r *routes) observe(mux *http.ServeMux, profiles bool) {
	for _, pattern := range etcdapi.PagePatterns() {
		r.handle(mux, pattern, r.api)
	}
	r.handle(mux, "GET /metrics", scraping(r.registry))
	if profiles {
		r.handle(mux, "/debug/pprof/", http.HandlerFunc(pprof.Index))
		r.handle(mux, "/debug/pprof/cmdline", http.HandlerFunc(pprof.Cmdline))
		r.handle(mux, "/debug/pprof/profile", http.HandlerFunc(pprof.Profile))
		r.handle(mux, "/debug/pprof/symbol", http.HandlerFunc(pprof.Symbol))
		r.handle(mux, "/debug/pprof/trace", http.HandlerFunc(pprof.Trace))
	}
}

// probe answers for a witness in the form of etcd's /livez and /readyz.
func probe(w http.ResponseWriter, problem string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if problem != "" {
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte(problem + "\n"))
		return
	}
	w.Write([]byte("ok\n"))
}

// newHTTPServer returns a server that has patience with its clients, but not for ever. What it has to say of them is
// for who looks for it.
func newHTTPServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: patient(sound(proving(h), logger)), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, fromKey{}, c.RemoteAddr())
		},
		MaxHeaderBytes: headerBytes, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ConnState: acquaint,
	}
}

// fromKey is that of the address that a request came from, by which its door knows the connection.
type fromKey struct{}

// proving tells the door of a connection that a request of it came, with all of its headers: it is answered, one way or
// another.
func proving(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if from, ok := r.Context().Value(fromKey{}).(net.Addr); ok {
			if r.TLS != nil {
				judge(from, r.TLS)
			}
			door.Prove(from)
		}
		h.ServeHTTP(w, r)
	})
}

// sound tells the log of a panic, which ends the request and its connection.
func sound(h http.Handler, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v != http.ErrAbortHandler {
				logger.Error("a request panicked", "path", r.URL.Path, "err", v)
				logger.Debug("panic", "stack", string(debug.Stack()))
			}
			panic(http.ErrAbortHandler)
		}()
		h.ServeHTTP(w, r)
	})
}

// acquaint tells the door of a connection when a request begins on it, and when it is answered.
func acquaint(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateActive:
		door.Vouch(c)
		door.Asks(c)
	case http.StateIdle:
		door.Rests(c)
	}
}
