package etcdapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"go.etcd.io/etcd/api/v3/version"
)

// HTTPHandler serves what etcd serves over HTTP beside gRPC: /health, /version and the JSON gateway under /v3/, which
// is there as /v3beta/ too. The gateway's requests take the way of any gRPC request, over a connection in memory, until
// ctx ends.
func (a *API) HTTPHandler(ctx context.Context) (http.Handler, error) {
	gateway, err := a.gateway(ctx)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", a.serveHealth)
	mux.HandleFunc("/version", a.serveVersion)
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

// serveHealth says whether this node can serve linearizable reads, by doing one; with ?serializable=true, whether it is
// there at all. As in etcd an alarm is no health, unless it is named by ?exclude=.
func (a *API) serveHealth(w http.ResponseWriter, r *http.Request) {
	if !isGet(w, r) {
		return
	}
	answer := struct {
		Health string `json:"health"`
		Reason string `json:"reason"`
	}{Health: "true"}
	status := http.StatusOK
	reason := a.alarmed(r.URL.Query()["exclude"])
	if reason == "" && !strings.EqualFold(r.URL.Query().Get("serializable"), "true") {
		reason = a.unhealthy(r.Context())
	}
	if reason != "" {
		answer.Health, answer.Reason, status = "false", reason, http.StatusServiceUnavailable
	}
	writeJSON(w, status, answer)
}

func (a *API) unhealthy(ctx context.Context) string {
	if !a.hasLeader() {
		return "RAFT NO LEADER"
	}
	if err := a.barrier(ctx); err != nil {
		return "QGET ERROR:" + err.Error()
	}
	return ""
}

func (a *API) serveVersion(w http.ResponseWriter, r *http.Request) {
	if !isGet(w, r) {
		return
	}
	minor := minorVersion(a.version)
	writeJSON(w, http.StatusOK, version.Versions{Server: a.version, Cluster: minor, Storage: minor})
}

func isGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet {
		return true
	}
	w.Header().Set("Allow", http.MethodGet)
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	return false
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the client is gone
}
