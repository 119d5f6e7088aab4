package etcdapi

import (
	"context"
	"net/http"
)

// HTTPHandler serves what etcd serves over HTTP beside gRPC: /health, /livez, /readyz, /version and the JSON gateway
// under /v3/. The gateway's requests take the way of any gRPC request, over a connection in memory, until ctx ends.
func (a *API) HTTPHandler(ctx context.Context) (http.Handler, error) {
	gateway, err := a.gateway(ctx)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	pageServer{a}.servePages(mux)
	mux.Handle("/v3/", a.boundBodies(gateway))
	return mux, nil
}
