package replication_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/transport"
)

// says opens a stream to a service of a node, says something first, and returns what is answered.
func says(f *testFleet, from transport.Transport, node, service, first string) ([]byte, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	s, err := from.Open(ctx, node, service)
	if err != nil {
		return nil, err
	}
	if err := s.Send([]byte(first)); err != nil {
		f.t.Logf("%s to %s: %v", first, service, err) // why is said to who receives
	}
	return s.Recv()
}

// everything are the services of a node but the one of questions, each with something to begin with.
var everything = map[string]string{
	"propose/1": "x", "propose/2": "x", "propose/3": "x", "stream/1": "x", "stream/2": "x", "copy/1": `{"region":"us"}`,
	"copy/2": `{"region":"us"}`, "raft/1": "x", "raft.snapshot/1": "x", "raft.snapshot/2": "x",
}

// orders are questions that have something done, or that show data.
var orders = []string{
	`{"op":"move","body":{"to":"eu"}}`, `{"op":"take back"}`, `{"op":"form"}`,
	`{"op":"failover","body":{"force":true}}`,
	`{"op":"failover at","body":{"force":true}}`, `{"op":"roster-add","body":{"region":"xx","peers":["x"]}}`,
	`{"op":"roster-remove","body":{"region":"eu","gone":true}}`, `{"op":"roster-source","body":{"region":"eu"}}`,
	`{"op":"vote-enable","body":{}}`, `{"op":"vote-recover","body":{}}`, `{"op":"tails"}`, `{"op":"held","body":{}}`,
	`{"op":"members","body":{"do":"remove","id":1}}`, `{"op":"ack","body":{"region":"eu","position":9}}`,
	`{"op":"node","body":""}`, `{"op":"ask","body":""}`, `{"op":"vote-enrol"}`,
}

// refusedAll checks that who has this name gets none of that from a node, but its word of how it is.
func refusedAll(f *testFleet, node, region, name, why string, services map[string]string) {
	f.t.Helper()
	from := f.named("door of "+region+"/"+name, region, name)
	defer from.Close()
	for service, first := range services {
		p, err := says(f, from, node, service, first)
		if !errors.Is(err, transport.ErrStranger) || !strings.Contains(err.Error(), why) {
			f.t.Errorf("%s of %s at %s: %q, %v", name, region, service, p, err)
		}
	}
	for _, order := range orders {
		if p, err := says(f, from, node, "call/1", order); err != nil || !isRefused(p, why) {
			f.t.Errorf("%s of %s asks %s: %s, %v", name, region, order, p, err)
		}
	}
	if p, err := says(f, from, node, "call/1", `{"op":"report","body":{}}`); err != nil || isRefused(p, "") {
		f.t.Errorf("%s of %s asks for a report: %s, %v", name, region, p, err)
	}
}

// isRefused reports whether an answer is a refusal that says why.
func isRefused(p []byte, why string) bool {
	var a struct{ Error, Text string }
	err := json.Unmarshal(p, &a)
	return err == nil && (a.Error == "rejected" || a.Error == "not-ready") &&
		strings.Contains(a.Text, "may not have an answer") && strings.Contains(a.Text, why)
}

// TestAdmittedIsNotEntitled: a witness, or a node of a region that nobody named, writes, copies, streams and orders
// nothing, whatever its certificate says, and hears how the nodes are.
func TestAdmittedIsNotEntitled(t *testing.T) {
	inBubble(t, map[string]int{"us": 1, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		refusedAll(f, "us-1", "witness", "w1", "", everything)
		refusedAll(f, "us-1", "xx", "xx-1", "", everything)
		other := f.named("another door", "eu", "eu-2")
		defer other.Close()
		if p, err := says(f, other, "us-1", "copy/2", `{"region":"eu"}`); err != nil {
			t.Errorf("a node of the fleet takes a copy: %q, %v", p, err)
		}
		if p, err := says(f, other, "us-1", "call/1", `{"op":"take back"}`); err != nil || isRefused(p, "") {
			t.Errorf("a node of the fleet orders: %s, %v", p, err)
		}
		f.put("eu-1", "c1")
		f.eventually(values(0, 2))
	})
}

// TestARegionThatNobodyNamedGetsNothing before it is added, also where the fleet has no roster; then it comes in.
func TestARegionThatNobodyNamedGetsNothing(t *testing.T) {
	growing(t, nil, func(f *growingFleet) {
		f.write("us-1", 3)
		f.everywhere()
		f.found("ap", 1)
		time.Sleep(30 * time.Second)
		ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
		_, err := f.nodes["ap-1"].Propose(ctx, []*replication.Command{{Data: []byte("x")}})
		cancel()
		if err == nil {
			t.Error("it writes")
		}
		if got := f.nodes["ap-1"].ledger.commands(); len(got) != 0 {
			t.Errorf("it has %v", got)
		}
		f.add("us-1", "ap")
		f.write("ap-1", 3)
		f.everywhere()
		f.knows("us-1", 1, "ap", "eu", "us")
		f.remove("us-1", replication.RegionRemoval{Region: "ap"})
		f.ends("ap-1")
		refusedAll(f.testFleet, "us-1", "ap", "ap-1", "", everything)
		f.forget("ap")
	})
}

// TestARemovedNodeGetsNothing, and is told that it was removed when it is back.
func TestARemovedNodeGetsNothing(t *testing.T) {
	inBubble(t, map[string]int{"us": 5, "eu": 1}, func(f *testFleet) {
		f.put("us-1", "c0")
		gone, leader := f.followersOf("us")[0], f.leaderOf("us") // whom the one that is cut off knows no more
		f.network.Isolate(gone)
		f.within(time.Minute, "the cut is noticed", func() bool { return f.nodes[gone].LeaderID() == "" })
		if err := f.remove(leader, gone); err != nil {
			t.Fatal(err)
		}
		f.put(leader, "c1")
		but := map[string]string{}
		for name, first := range everything {
			if !strings.HasPrefix(name, "raft") { // that talk ends with what tells the node that it was removed
				but[name] = first
			}
		}
		for _, node := range f.regions["us"] {
			if node != gone {
				f.within(time.Minute, node+" knows", func() bool {
					return slices.Equal(f.nodes[node].ledger.commands(), values(0, 2))
				})
				refusedAll(f, node, "us", gone, "it was removed from region us", but)
			}
		}
		f.network.HealAll()
		f.stopsItself(gone)
		f.refuses(gone)
		f.put("eu-1", "c2")
		f.eventually(values(0, 3))
	})
}
