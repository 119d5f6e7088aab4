//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/events"
)

// tailOf is a tail t of two commands that a region lost.
func tailOf(region string) replication.TailInfo {
	info := replication.TailInfo{Name: "t"}
	info.Region, info.Commands = region, 2
	return info
}

// oneForAnother is a node us-1, which has a tail, behind one address for it and for us-2, which speaks for the region.
// It returns where it is, and the paths of what was asked of it to be deleted.
func oneForAnother(t *testing.T) (at string, deleted *[]string) {
	t.Helper()
	deleted = &[]string{}
	tail := tailOf("us")
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		us := replication.RegionStatus{Name: "us", Heard: true, By: "us-2", Role: replication.RolePrimary}
		for _, name := range []string{"us-1", "us-2"} {
			us.Nodes = append(us.Nodes, replication.NodeStatus{Name: name, Region: "us", Reachable: true,
				ReachableKnown: true, ClientURLs: []string{s.URL}})
		}
		if r.Method == http.MethodDelete {
			*deleted = append(*deleted, r.URL.Path)
		}
		answer, ok := map[string]any{
			"/mimir/v1/fleet": &replication.FleetStatus{Fleet: "f", Asked: "us-1", Primary: "us",
				Regions: []replication.RegionStatus{us}},
			"/mimir/v1/node": &admin.Node{HealthStatus: &replication.HealthStatus{NodeID: "us-1", Healthy: true},
				Revision: 7},
			"/mimir/v1/events": &events.Page{Node: "us-1", Log: "a", Now: time.Now()},
			"/mimir/v1/tails":  []replication.TailInfo{tail},
			"/metrics":         "",
		}[r.URL.Path]
		if !ok {
			answer = struct{}{}
		}
		text, err := admin.Marshal(answer)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), deleted
}

// What one node answers in the place of another one is told of itself alone, and the other one as not asked.
func TestWhoAnswersIsNotTakenForAnother(t *testing.T) {
	at, deleted := oneForAnother(t)
	const other = "us-1 answers where it says that it serves clients"
	for command, want := range map[string]string{
		"tail list":         "not asked, because they do not answer: us-2 (" + other + ")",
		"tail discard t":    "these may have the tail, and do not answer: us-2 (" + other + ")",
		"events":            "NO ANSWER: us-2 (us): " + other,
		"tail discard t -y": "nothing was discarded",
	} {
		status, out, errs := mimir(t, append(strings.Fields(command), "--endpoints", at)...)
		if !strings.Contains(out+errs, want) || (status == exitDone) != (command == "events") {
			t.Errorf("%s: exit status %d, no %q in\n%s%s", command, status, want, out, errs)
		}
	}
	status, out, errs := mimir(t, "tail", "discard", "t", "-y", "--reachable-only", "--endpoints", at)
	if status != exitDone || !strings.Contains(out, "discarded t on us-1\n") ||
		!slices.Equal(*deleted, []string{"/mimir/v1/tails/t"}) {
		t.Errorf("exit status %d, deleted are %v\n%s%s", status, *deleted, out, errs)
	}
}

// The revision of a region is of the node that spoke for it, and figures are of the node that they are shown of.
func TestWhatAnotherNodeHasIsNotShown(t *testing.T) {
	at, _ := oneForAnother(t)
	client, err := admin.NewClient([]string{at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	f, err := inspectWithin(t.Context(), client, time.Minute, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if us := f.find("us"); us.Revision != -1 || us.node("us-1") == nil || us.node("us-2") != nil {
		t.Errorf("%+v", us)
	}
	shown := top{client: client, bound: time.Minute, silence: time.Minute}
	r, err := shown.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Nodes) != 1 || r.Nodes[0].Node != "us-1" || len(r.Silent) != 1 ||
		!strings.HasPrefix(r.Silent[0], "us-2 (us): us-1 answers where") {
		t.Errorf("%+v", r)
	}
}

// Who may have a tail is found also by what stands behind the name of one that was not asked.
func TestWhoMayHaveATailIsOfItsRegion(t *testing.T) {
	at, _ := oneForAnother(t)
	client, err := admin.NewClient([]string{at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	silent := []string{"us-2 (eu-1 answers there)"}
	for region, want := range map[string]int{"us": 1, "eu": 0} {
		copies := []storedTail{{TailInfo: tailOf(region)}}
		if may, err := mayHave(t.Context(), client, copies, silent); err != nil || len(may) != want {
			t.Errorf("of a tail of %s: %q, %v", region, may, err)
		}
	}
}
