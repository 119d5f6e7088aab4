//go:build unix

package packages

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/server"
)

// Another name of a node, and that it joins, start nobody again: what pods are made of is the same. Each node is told
// where it is, but for the one that joins, which is told who is there already.
func TestANodeMayHaveAnotherNameThanItsPod(t *testing.T) {
	values := map[string]any{"region": "us"}
	before := render(t, "mimir", maps.Clone(values))
	values["names"] = map[string]any{"2": "mimir-us-2b"}
	named := render(t, "mimir", maps.Clone(values))
	values["joining"] = []any{2}
	joins := render(t, "mimir", maps.Clone(values))
	const at = "mimir-us-2.mimir-us-peers.stores.svc:2380"
	for i, want := range []string{"mimir-us-0", "mimir-us-1", "mimir-us-2b"} {
		for _, o := range []*objects{named, joins} {
			r := o.loaded(t, i).Replication
			alone := o == joins && i == 2
			if r.NodeID != want || r.Join != alone || (r.Nodes["mimir-us-2b"] == at) == alone ||
				r.Nodes["mimir-us-2"] != "" {
				t.Errorf("node %d is %s, joins: %t, and knows %v", i, r.NodeID, r.Join, r.Nodes)
			}
			if i == 2 && r.PeerAddr != at {
				t.Errorf("it is at %s", r.PeerAddr)
			}
		}
	}
	for _, o := range []*objects{named, joins} {
		if !reflect.DeepEqual(before.nodes, o.nodes) {
			t.Error("the pods are others: all would be started again")
		}
	}
}

// pods are those of a region, each a node of this machine that is told what its pod would be, with other addresses.
type pods struct {
	dir     string
	at      []string // for clients, nodes and HTTP, of each
	objects *objects
}

// release renders the chart, with these values beside those of every test.
func (p *pods) release(t *testing.T, more map[string]any) {
	t.Helper()
	values := map[string]any{"region": "us", "config": map[string]any{ // small and fast
		"cache-bytes": "8MiB", "mem-table-bytes": "4MiB", "segment-bytes": "1MiB", "tick-interval": "20ms",
		"shutdown-timeout": "1m", "log-level": "warn",
	}}
	maps.Copy(values, more)
	p.objects = render(t, "mimir", values)
}

func (p *pods) volume(number int) string { return filepath.Join(p.dir, fmt.Sprint(number)) }

// told returns what the node of a pod is told.
func (p *pods) told(t *testing.T, number int) *server.Config {
	t.Helper()
	var pairs []string
	for i := range 3 {
		host := fmt.Sprintf("mimir-us-%d.mimir-us-peers.stores.svc", i)
		pairs = append(pairs, host+":2379", p.at[3*i], host+":2380", p.at[3*i+1])
	}
	here := strings.NewReplacer(pairs...)
	variables := p.objects.variables(t, number)
	for name, value := range variables {
		variables[name] = here.Replace(value)
	}
	variables["MIMIR_LISTEN_CLIENT"], variables["MIMIR_LISTEN_PEER"] = p.at[3*number], p.at[3*number+1]
	variables["MIMIR_LISTEN_HTTP"] = p.at[3*number+2]
	variables["MIMIR_DATA_DIR"] = filepath.Join(p.volume(number), "data")
	return load(t, here.Replace(p.objects.file(t, number)), variables)
}

// start starts the node of a pod, until it is stopped or the test ends.
func (p *pods) start(t *testing.T, number int) *node {
	t.Helper()
	c, log := p.told(t, number), &bytes.Buffer{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, c, server.Options{Version: stamp.Version, LogTo: log}) }()
	n := &node{client: "http://" + c.ListenClient}
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v\n%s", c.Replication.NodeID, err, log)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// isRefused starts the node of a pod that has lost its volume, as Kubernetes does, and wants it to say so and to end.
func (p *pods) isRefused(t *testing.T, number int) {
	t.Helper()
	if err := os.RemoveAll(p.volume(number)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := server.Run(ctx, p.told(t, number), server.Options{Version: stamp.Version, LogTo: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "this member has lost its data") {
		t.Fatalf("with an empty volume it ends with %v", err)
	}
	if err := os.RemoveAll(p.volume(number)); err != nil {
		t.Fatal(err)
	}
}

// member is one of a region, as its members are listed.
type member struct {
	ID, Name  string
	IsLearner bool
}

func (n *node) members(t *testing.T) []member {
	t.Helper()
	var answer struct{ Members []member }
	n.call(t, "/v3/cluster/member/list", struct{}{}, &answer)
	return answer.Members
}

// idOf waits until a member is listed by its name.
func (n *node) idOf(t *testing.T, name string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		list := n.members(t)
		if i := slices.IndexFunc(list, func(m member) bool { return m.Name == name }); i >= 0 {
			return list[i].ID
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is no %s among %+v", name, list)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TestANodeWhoseVolumeIsLostIsReplaced does what docs/packages.md says, with what the chart makes of these values: the
// pod gets a node of another name, which joins, is promoted, and then is a node as the others are.
func TestANodeWhoseVolumeIsLostIsReplaced(t *testing.T) {
	p := &pods{dir: t.TempDir(), at: addresses(t, 9)}
	p.release(t, nil)
	us := []*node{p.start(t, 0), p.start(t, 1), p.start(t, 2)}
	us[0].holds(t)
	us[2].stop()
	p.isRefused(t, 2)

	var done map[string]any
	us[0].call(t, "/v3/cluster/member/remove", map[string]string{"ID": us[0].idOf(t, "mimir-us-2")}, &done)
	names := map[string]any{"2": "mimir-us-2b"}
	p.release(t, map[string]any{"names": names, "joining": []any{2}})
	us[2] = p.start(t, 2)
	us[0].call(t, "/v3/cluster/member/add",
		map[string]any{"peerURLs": []string{"http://" + p.at[3*2+1]}, "isLearner": true}, &done)
	us[0].call(t, "/v3/cluster/member/promote", map[string]string{"ID": us[0].idOf(t, "mimir-us-2b")}, &done)

	p.release(t, map[string]any{"names": names})
	for i := range us {
		us[i].stop()
		us[i] = p.start(t, i)
		if got := us[i].get(t, "greeting"); got != "hello" {
			t.Errorf("started again, node %d has %q", i, got)
		}
	}
	var list []string
	for _, m := range us[2].members(t) {
		list = append(list, fmt.Sprint(m.Name, " ", m.IsLearner))
	}
	slices.Sort(list)
	if want := []string{"mimir-us-0 false", "mimir-us-1 false", "mimir-us-2b false"}; !slices.Equal(list, want) {
		t.Errorf("the region has %q, want %q", list, want)
	}
	us[2].stop()
	p.isRefused(t, 2) // as every node that lost its volume, since it joins no more
}
