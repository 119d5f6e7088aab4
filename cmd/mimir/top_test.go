//go:build unix

package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

const exportedText = `# HELP mimir_requests_total Requests answered, by method and gRPC code.
# TYPE mimir_requests_total counter
mimir_requests_total{code="OK",method="/etcdserverpb.KV/Put"} 120
mimir_requests_total{code="Unavailable",method="/etcdserverpb.KV/Put"} 7
mimir_requests_total{code="OK",method="/etcdserverpb.KV/Range"} 1e+03
mimir_peer_sent_bytes_total{node="eu-1",region="eu",service="stream"} 2048
mimir_peer_sent_bytes_total{node="eu-2",region="eu",service="stream"} 1024
mimir_peer_sent_bytes_total{node="us-2",region="us",service="raft"} 9999
mimir_position 50
mimir_watchers 3
mimir_strange{name="a \"quoted\" } one"} 1
mimir_lag_seconds{broken 1
`

func TestMetricsAreRead(t *testing.T) {
	names := wanted()
	names["mimir_strange"] = true
	e := parseMetrics([]byte(exportedText), names)
	for _, test := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"mimir_requests_total", []string{"method", ofKV + "Put", "code", "OK"}, 120},
		{"mimir_requests_total", []string{"method", ofKV + "Put"}, 127},
		{"mimir_requests_total", []string{"method", ofKV + "Range"}, 1000},
		{"mimir_peer_sent_bytes_total", []string{"service", "stream"}, 3072},
		{"mimir_watchers", nil, 3},
		{"mimir_strange", []string{"name", `a "quoted" } one`}, 1},
	} {
		if got, ok := e.sum(test.name, test.labels...); !ok || got != test.want {
			t.Errorf("%s %q: %v, %v", test.name, test.labels, got, ok)
		}
	}
	if _, ok := e.sum("mimir_lag_seconds"); ok {
		t.Error("a line that cannot be read was")
	}
}

func TestRates(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	sample := func(seconds int, text string) *sampled {
		return &sampled{at.Add(time.Duration(seconds) * time.Second), parseMetrics([]byte(text), wanted())}
	}
	first := sample(0, exportedText)
	later := strings.NewReplacer("Put\"} 120", "Put\"} 170", "position 50", "position 40")
	second := sample(10, later.Replace(exportedText))
	r := rates(first, second)
	for key, want := range map[string]float64{"puts": 5, "gets": 0, "txns": 0, "watches": 3, "streamOut": 0} {
		if got, known := r[key]; !known || math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, %v, want %v", key, got, known, want)
		}
	}
	for _, key := range []string{"commands", "bytesIn", "pending"} { // went back; not exported
		if got, known := r[key]; known {
			t.Errorf("%s is %v, and is not known", key, got)
		}
	}
	if r := rates(nil, second); len(r) != 1 || r["watches"] != 3 {
		t.Errorf("of one sample: %v", r)
	}
}

// checkTop counts once in the fleet of TestFleetByHand.
func checkTop(t *testing.T, endpoints string) {
	t.Helper()
	code, out, errs := mimir(t, "top", "--once", "--every", "200ms", "--json", "--endpoints", endpoints)
	var r topReport
	if err := json.Unmarshal([]byte(out), &r); code != exitDone || err != nil {
		t.Fatalf("%d %s %v", code, errs, err)
	}
	if len(r.Regions) != 2 || len(r.Nodes) != 2 || len(r.Silent) != 0 || r.Seconds <= 0 {
		t.Fatalf("%s", out)
	}
	for _, n := range r.Nodes {
		for _, f := range figures {
			if _, known := n.Rates[f.key]; !known {
				t.Errorf("%s: %s is not known", n.Node, f.key)
			}
		}
	}
	if code, out, errs = mimir(t, "top", "--once", "--every", "200ms", "--endpoints", endpoints); code != exitDone ||
		!strings.Contains(out, "STREAM OUT/S") || !strings.Contains(out, "primary") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// A sum says of how many nodes it is, where not all were read.
func TestASumOfSomeNodesSaysSo(t *testing.T) {
	fleet := replication.RegionStatus{Name: "us", Role: replication.RolePrimary,
		Nodes: []replication.NodeStatus{{Name: "us-1", Leader: true}, {Name: "us-2"}}}
	one := &sampled{time.Now(), exported{}}
	for want, read := range map[string]map[string]*sampled{
		"us (1 of 2 nodes)": {"us-1": one}, "us primary": {"us-1": one, "us-2": one},
	} {
		r, t2 := &topReport{}, &top{}
		t2.region(r, &fleet, read)
		var out strings.Builder
		if r.print(&out); !strings.Contains(squeeze(out.String()), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// What a node is in its region is told as far as it is known.
func TestWhatANodeIsInItsRegion(t *testing.T) {
	led := &replication.RegionStatus{Nodes: []replication.NodeStatus{{Leader: true}, {Learner: true}, {}}}
	for i, want := range []string{"leader", "learner", "follower"} {
		if got := doesIn(led, &led.Nodes[i]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	silent := &replication.RegionStatus{Nodes: []replication.NodeStatus{{}}}
	if got := doesIn(silent, &silent.Nodes[0]); got != "-" {
		t.Errorf("where no leader is known: %q", got)
	}
}
