package etcdapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/version"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication"
)

// check is one thing that a page about health looks at.
type check struct {
	name string
	run  func(context.Context) error
}

// page is /livez or /readyz: all its checks, and each under a path of its own.
type page struct {
	name   string
	checks []check
}

// pageServer serves what there is to read over HTTP.
type pageServer struct{ *API }

// pages returns etcd's pages with etcd's checks, and one more of this node's own: what it knows itself of why it should
// get no clients. A process that can read what it has is alive, whatever has become of its region.
func (a pageServer) pages() []page {
	return []page{
		{"livez", []check{{"serializable_read", a.readLocal}}},
		{"readyz", []check{
			{"data_corruption", a.checkCorruption},
			{"serializable_read", func(ctx context.Context) error {
				if err := a.fresh(ctx, replication.Serializable); err != nil {
					return err
				}
				return a.readLocal(ctx)
			}},
			{"linearizable_read", func(ctx context.Context) error {
				if err := a.barrier(ctx); err != nil {
					return err
				}
				return a.readLocal(ctx)
			}},
			{"non_learner", a.checkLearner},
			{"node_health", a.checkHealth},
		}},
	}
}

// PagePatterns returns the paths that HTTPHandler serves beside the JSON gateway.
func PagePatterns() []string {
	list := []string{"/health", "/version"}
	for _, p := range (pageServer{}).pages() {
		list = append(list, "/"+p.name)
		for _, c := range p.checks {
			list = append(list, "/"+p.name+"/"+c.name)
		}
	}
	return list
}

// servePages adds the pages.
func (a pageServer) servePages(mux *http.ServeMux) {
	mux.HandleFunc("/health", a.serveHealth)
	mux.HandleFunc("/version", a.serveVersion)
	for _, p := range a.pages() {
		mux.HandleFunc("/"+p.name, func(w http.ResponseWriter, r *http.Request) {
			excluded := r.URL.Query()["exclude"]
			a.serveChecks(w, r, p.name, slices.DeleteFunc(slices.Clone(p.checks), func(c check) bool {
				return slices.Contains(excluded, c.name)
			}))
		})
		for _, c := range p.checks {
			mux.HandleFunc("/"+p.name+"/"+c.name, func(w http.ResponseWriter, r *http.Request) {
				a.serveChecks(w, r, p.name, []check{c})
			})
		}
	}
}

// serveChecks makes checks and says in etcd's words what they came to: all of it if one was not passed, or if asked
// for.
func (a pageServer) serveChecks(w http.ResponseWriter, r *http.Request, page string, checks []check) {
	if !isGet(w, r) {
		return
	}
	var told strings.Builder
	passed := true
	for _, c := range checks {
		err := c.run(r.Context())
		a.onCheck(page, c.name, err == nil)
		if err != nil {
			passed = false
			fmt.Fprintf(&told, "[-]%s failed: %s\n", c.name, textOf(err))
		} else {
			fmt.Fprintf(&told, "[+]%s ok\n", c.name)
		}
	}
	if !passed {
		http.Error(w, told.String(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !r.URL.Query().Has("verbose") {
		told.Reset()
	}
	told.WriteString("ok\n")
	w.Write([]byte(told.String()))
}

// textOf returns the words of an error without the code of gRPC, as etcd has them inside.
func textOf(err error) string { return status.Convert(err).Message() }

// serveHealth says whether this node can serve linearizable reads, by doing one; with ?serializable=true, whether it
// can read what it has. As in etcd an alarm is no health, unless it is named by ?exclude=.
func (a pageServer) serveHealth(w http.ResponseWriter, r *http.Request) {
	if !isGet(w, r) {
		return
	}
	answer := struct {
		Health string `json:"health"`
		Reason string `json:"reason"`
	}{"true", a.unhealthy(r)}
	if answer.Reason != "" {
		answer.Health = "false"
	}
	a.onCheck("health", "", answer.Reason == "")
	body, _ := json.Marshal(answer) // two strings
	if answer.Reason != "" {
		http.Error(w, string(body), http.StatusServiceUnavailable)
		return
	}
	w.Write(body)
}

// unhealthy says why not, "" if it is.
func (a pageServer) unhealthy(r *http.Request) string {
	if alarm := a.alarmed(r.URL.Query()["exclude"]); alarm != "" {
		return alarm
	}
	if r.URL.Query().Get("serializable") != "true" {
		if !a.hasLeader() {
			return "RAFT NO LEADER"
		}
		if err := a.barrier(r.Context()); err != nil {
			return "RANGE ERROR:" + textOf(err)
		}
	}
	if err := a.readLocal(r.Context()); err != nil {
		return "RANGE ERROR:" + textOf(err)
	}
	return ""
}

// readLocal reads one key of this node's store, as fresh as it is.
func (a pageServer) readLocal(ctx context.Context) error {
	_, err := a.store.Range(ctx, &pb.RangeRequest{Key: []byte{0}, KeysOnly: true, Limit: 1})
	return err
}

func (a pageServer) checkCorruption(context.Context) error {
	for _, one := range a.store.Alarms() {
		if one.Alarm == pb.AlarmType_CORRUPT {
			return fmt.Errorf("alarm activated: %s", one.Alarm)
		}
	}
	return nil
}

func (a pageServer) checkLearner(context.Context) error {
	h := a.recentHealth()
	if self := nodeOf(h.Nodes, h.RaftID); self != nil && self.Learner {
		return errors.New("not supported for learner")
	}
	return nil
}

// checkHealth says what this node knows itself of why it should get no clients.
func (a pageServer) checkHealth(context.Context) error {
	switch h := a.replicator.Health(); {
	case h.Healthy:
		return nil
	case h.Problem != "":
		return errors.New(h.Problem)
	default:
		return errors.New("not healthy")
	}
}

func (a pageServer) serveVersion(w http.ResponseWriter, r *http.Request) {
	if !isGet(w, r) {
		return
	}
	minor := minorVersion(a.version)
	body, _ := json.Marshal(version.Versions{Server: a.version, Cluster: minor, Storage: minor}) // three strings
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

func isGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet {
		return true
	}
	w.Header().Set("Allow", http.MethodGet)
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	return false
}
