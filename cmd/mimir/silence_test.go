//go:build unix

package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// oneOfTwo is a node us-1 of a fleet, in which us-2 is said to answer and listens, and never does. It returns where
// us-1 and us-2 are.
func oneOfTwo(t *testing.T) (answers, stands string) {
	t.Helper()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := map[string]string{"us-1": s.URL, "us-2": "http://" + silent.Addr().String()}
		us := replication.RegionStatus{Name: "us", Heard: true, By: "us-1", Role: replication.RolePrimary}
		for _, name := range []string{"us-1", "us-2"} {
			us.Nodes = append(us.Nodes, replication.NodeStatus{Name: name, Region: "us", Reachable: true,
				ReachableKnown: true, ClientURLs: []string{at[name]}})
		}
		var v any = &replication.FleetStatus{Fleet: "f", Asked: "us-1", Primary: "us",
			Regions: []replication.RegionStatus{us, {Name: "eu"}}}
		if r.URL.Path == "/mimir/v1/node" {
			v = &admin.Node{HealthStatus: &replication.HealthStatus{NodeID: "us-1", Healthy: true}, Revision: 7}
		}
		text, err := admin.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), silent.Addr().String()
}

// A node that stands still is waited for a while after the others have answered, and no longer, however long an answer
// may take.
func TestANodeThatStandsStillCostsLittle(t *testing.T) {
	at, _ := oneOfTwo(t)
	client, err := admin.NewClient([]string{at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	f, err := inspectWithin(t.Context(), client, time.Hour, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	us := f.find("us")
	if us.node("us-2") != nil || us.node("us-1") == nil && us.Revision != 7 {
		t.Errorf("us-1 is not known, or us-2 is: %+v", us)
	}
}

// One answer begins the time after which the others are given up, and each answer is told.
func TestAnAnswerBeginsTheSilence(t *testing.T) {
	ctx, heard, end := together(t.Context(), time.Hour, time.Millisecond)
	defer end()
	if ctx.Err() != nil {
		t.Error("given up before anybody answered")
	}
	heard()
	select {
	case <-ctx.Done():
	case <-time.After(time.Minute):
		t.Error("waits on")
	}

	at, _ := oneOfTwo(t)
	client, err := admin.NewClient([]string{at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fleet, err := client.Fleet(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	asking, enough := context.WithCancel(t.Context())
	defer enough()
	answers := 0
	list, silent := askNodes(asking, client, fleet.Regions[0].Nodes, func() { answers++; enough() })
	if answers != 1 || len(list) != 1 || len(silent) != 1 || silent[0].Node != "us-2" {
		t.Errorf("%d nodes are told to have answered, and %d did", answers, len(list))
	}
}

// Nor does it cost more where events and metrics of all nodes are read: it is named, with why.
func TestANodeThatStandsStillIsGivenUpWhereAllAreRead(t *testing.T) {
	at, _ := oneOfTwo(t)
	client, err := admin.NewClient([]string{at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	crowd := eventCrowd{client: client, bound: time.Hour, silence: 200 * time.Millisecond}
	told, err := crowd.report(t.Context())
	if err != nil || len(told.Nodes) != 1 || len(told.Silent) != 2 || told.Silent[1].Why != errSilent.Error() {
		t.Errorf("events: %+v, %v", told, err)
	}
	rates := top{client: client, bound: time.Hour, silence: 200 * time.Millisecond}
	report, err := rates.look(t.Context())
	if err != nil || len(report.Nodes) != 1 || len(report.Silent) != 1 ||
		report.Silent[0] != "us-2 (us): "+errSilent.Error() {
		t.Errorf("metrics: %+v, %v", report, err)
	}
}

// answerAtOnce is less than any question may take, and more than a second of a busy machine.
const answerAtOnce = 8 * time.Second

// Who waits for an endpoint is told so, while he waits, and for a second: then he hears what it did and what to try.
func TestWhoIsWaitedForIsSaid(t *testing.T) {
	at, silent := oneOfTwo(t)
	// On a busy machine none may answer at once: then that is said, rightly.
	eventually(t, "nothing is said where another endpoint answers at once", func() bool {
		status, out, errs := mimir(t, "status", "--endpoints", silent+","+at)
		if status != exitDone || !strings.Contains(out, "as us-1 sees it") {
			t.Fatalf("where another endpoint answers: %d %s%s", status, out, errs)
		}
		return errs == ""
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := &output{}
	done := make(chan int, 1)
	go func() { done <- run(ctx, nil, []string{"status", "--endpoints", silent}, said, said) }()
	eventually(t, "it is said", func() bool {
		return strings.Contains(said.String(), "mimir: waiting for http://"+silent+": no answer for 500ms\n")
	})
	select {
	case status := <-done:
		want := "http://" + silent + " did not answer for 1s: "
		if status != exitFailed || !strings.Contains(said.String(), want) ||
			!strings.Contains(said.String(), "is unknown: name nodes of other regions with --endpoints") {
			t.Errorf("%d %s, want %q", status, said, want)
		}
	case <-time.After(answerAtOnce):
		t.Error("it waits for longer than a second, and some for a busy machine")
	}
}

// A node that sends no snapshot is said to be waited for, and until when; who ends the wait reads nothing of a context.
func TestASnapshotThatDoesNotComeIsSaid(t *testing.T) {
	_, silent := oneOfTwo(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	said := &output{}
	done := make(chan int, 1)
	arguments := []string{"snapshot", "save", t.TempDir() + "/file", "--endpoints", silent}
	go func() { done <- run(ctx, nil, arguments, said, said) }()
	eventually(t, "it is said", func() bool {
		want := "waiting for " + silent + ": nothing came for 1s; it is given up after 1m0s\n"
		return strings.Contains(said.String(), want)
	})
	cancel()
	if status := <-done; status != exitFailed || strings.Contains(said.String(), "context") {
		t.Errorf("%d %s", status, said)
	}
}

// Shells complete what a fleet, or the fleet of mimir dev, knows by name.
func TestNamesAreCompleted(t *testing.T) {
	at, silent := oneOfTwo(t)
	for line, want := range map[string]string{
		"switchover --endpoints " + at + " --to ":      "us\neu\n:4\n",
		"failover --endpoints " + silent + " --to ":    ":4\n",
		"region remove --endpoints " + at + " ":        "us\neu\n:4\n",
		"region remove --endpoints " + at + " us ":     ":4\n",
		"fleet recover --endpoints " + at + " --keep ": "us\neu\n:4\n",
		"status --output ":                             "text\njson\n:4\n",
		"dev break ":                                   "node\nregion\nlink\n:4\n",
		"dev break --data-dir /none region ":           ":4\n",
	} {
		status, out, errs := mimir(t, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if status != exitDone || out != want {
			t.Errorf("%q: %d, %q, want %q; %s", line, status, out, want, errs)
		}
	}
}
