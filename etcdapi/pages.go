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

// page is /livez or /readyz: all its checks, and each under a path of its own.
type page struct {
	name   string
	checks []check
}

// pageServer serves what there is to read over HTTP.
type pageServer struct {
	*API
	probes *probes
}

// pages returns etcd's pages with etcd's checks, and one more of this node's own: what it knows itself of why it should
// get no clients. A process that can read what it has is alive, whatever has become of its region.
func (a pageServer) pages() []page {
	return []page{
		{"livez", []check{a.localRead()}},
		{"readyz", []check{
			{name: "data_corruption", run: a.checkCorruption, late: lateNode},
			{name: "serializable_read", late: lateReplay, run: a.readAs(replication.Serializable)},
			{
				name: "linearizable_read", late: a.latePrimary, spared: a.sparedRead,
				run: a.readAs(replication.Linearizable),
			},
			{name: "non_learner", run: a.checkLearner, late: lateNode},
			{name: "node_health", run: a.checkHealth, late: lateNode},
		}},
	}
}

// localRead is a read of what this node has.
func (a pageServer) localRead() check {
	return check{name: "serializable_read", run: a.readLocal, late: lateStore}
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
			asked := r.URL.Query().Get("linearizable") == "true"
			var spared strings.Builder
			checks := slices.DeleteFunc(slices.Clone(p.checks), func(c check) bool {
				if slices.Contains(excluded, c.name) {
					return true
				}
				if c.spared == nil || asked {
					return false
				}
				why := c.spared()
				if why != "" {
					fmt.Fprintf(&spared, "[+]%s excluded: %s\n", c.name, why)
				}
				return why != ""
			})
			a.serveChecks(w, r, p.name, checks, spared.String())
		})
		for _, c := range p.checks {
			mux.HandleFunc("/"+p.name+"/"+c.name, func(w http.ResponseWriter, r *http.Request) {
				a.serveChecks(w, r, p.name, []check{c}, "")
			})
		}
	}
}

// serveChecks makes checks and says in etcd's words what they came to, and which were spared: all of it if one was not
// passed, or if asked for.
func (a pageServer) serveChecks(w http.ResponseWriter, r *http.Request, page string, checks []check, spared string) {
	if !isGet(w, r) {
		return
	}
	var told strings.Builder
	passed := true
	for _, c := range checks {
		err := a.make(r.Context(), page, c)
		a.onCheck(page, c.name, err == nil)
		if err != nil {
			passed = false
			fmt.Fprintf(&told, "[-]%s failed: %s\n", c.name, textOf(err))
		} else {
			fmt.Fprintf(&told, "[+]%s ok\n", c.name)
		}
	}
	told.WriteString(spared)
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

// make returns what c came to, in words for who asked if it did not end.
func (a pageServer) make(ctx context.Context, page string, c check) error {
	limit := min(checkTimeout, a.limits.now().RequestTimeout)
	err := a.probes.make(ctx, page, &c, limit)
	if errors.Is(err, errLate) {
		return errors.New(c.late(limit))
	}
	return err
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
	if err := a.make(r.Context(), "health", a.localRead()); err != nil {
		return "RANGE ERROR:" + textOf(err)
	}
	return ""
}

// readAs reads one key of this node's store, as fresh as l asks.
func (a pageServer) readAs(l replication.Level) func(context.Context) error {
	return func(ctx context.Context) error {
		switch err := a.replicator.ReadBarrier(ctx, l); {
		case errors.Is(err, replication.ErrNotReady), errors.Is(err, context.DeadlineExceeded):
			return errLate
		case err != nil:
			return a.statusOf(context.WithoutCancel(ctx), err)
		}
		return a.readLocal(ctx)
	}
}

// readLocal reads one key of this node's store, as fresh as it is.
func (a pageServer) readLocal(ctx context.Context) error {
	_, err := a.store.Range(ctx, &pb.RangeRequest{Key: []byte{0}, KeysOnly: true, Limit: 1})
	return err
}

func (a pageServer) checkCorruption(context.Context) error {
	if a.differs() {
		return errors.New("alarm activated: CORRUPT: this node holds something else than its region")
	}
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
