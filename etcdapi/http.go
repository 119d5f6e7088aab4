package etcdapi

import (
	"context"
	"net/http"
	"strings"
)

// HTTPHandler serves what etcd serves over HTTP beside gRPC: /health, /livez, /readyz, /version and the JSON gateway
// under /v3/, which is there as /v3beta/ too. The gateway's requests take the way of any gRPC request, over a
// connection in memory, until ctx ends.
func (a *API) HTTPHandler(ctx context.Context) (http.Handler, error) {
	gateway, err := a.gateway(ctx)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	pageServer{API: a, probes: &probes{}}.servePages(mux)
	bounded := a.boundBodies(gateway)
	mux.Handle("/v3/", bounded)
	mux.Handle("/v3beta/", ofBefore(bounded))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions { // whoever asks what may be done may do what he can
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

// ofBefore serves the paths of before.
func ofBefore(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := *r.URL
		now.Path, now.RawPath = strings.Replace(now.Path, "/v3beta/", "/v3/", 1), ""
		r = r.WithContext(r.Context())
		r.URL = &now
		h.ServeHTTP(w, r)
	})
}
