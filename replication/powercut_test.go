package replication_test

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// powerCut has two of three nodes of us agree on 20 values without the third, takes the power from all of them, and
// from the disk of one of the two the values. None of them runs then. There are 21 values.
func (f *testFleet) powerCut() (has, lost, late string) {
	f.t.Helper()
	f.put("us-1", "c0")
	f.eventually(values(0, 1))
	has = f.leaderOf("us")
	followers := f.followersOf("us")
	lost, late = followers[0], followers[1]
	f.kill(late)
	old := f.copyOf(lost)
	for _, v := range values(1, 21) {
		f.put(has, v)
	}
	f.eventually(values(0, 21))
	f.kill(has)
	f.kill(lost)
	f.nodes[lost].disk = old
	f.forget(has) // that lost was started once more, for the copy: a disk that loses values keeps that
	return has, lost, late
}

// TestWhoHasWhatWasAgreedOnIsWaitedFor: after a power cut of a whole region the one node that has the last writes is
// the last to start. The two others are a majority, and one of them held these writes; they wait.
func TestWhoHasWhatWasAgreedOnIsWaitedFor(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		has, lost, late := f.powerCut()
		f.start(late)
		f.start(lost)
		time.Sleep(3 * time.Second)
		for _, name := range []string{late, lost} {
			if leader := f.nodes[name].LeaderID(); leader != "" {
				t.Fatalf("%s is led by %s, and %s has what was acknowledged", name, leader, has)
			}
		}
		f.start(has)
		f.put(late, "c21")
		f.eventually(values(0, 22))
	})
}

// TestWhoDoesNotComeIsNotWaitedForWithoutEnd: the same, and the one that has the writes stays away. The others go on
// after some seconds, and say without whom; who comes later finds that the region has another history, keeps what it
// has, and stays away from it.
func TestWhoDoesNotComeIsNotWaitedForWithoutEnd(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		has, lost, late := f.powerCut()
		said := &lines{count: map[string]int{}}
		f.log = said
		f.start(late)
		f.start(lost)
		for _, v := range []string{"d1", "d2", "d3"} {
			f.put(late, v)
		}
		want := []string{"c0", "d1", "d2", "d3"}
		f.eventually(want)
		const alone = "this node takes part in elections without having heard of all voters since it started: " +
			"if disks of this region lost what they had synced, what these have alone of what was acknowledged is " +
			"not known here, and is lost to the region if somebody leads without them"
		if n := said.of(alone); n != 2 {
			t.Errorf("told %d times", n)
		}
		r, err := replication.NewMultiRegionReplicator(f.configOf(has), &ledger{})
		if err != nil {
			t.Fatal(err)
		}
		r.SetTransport(f.port(f.configOf(has)))
		if err = r.Start(f.t.Context()); err == nil {
			f.within(time.Minute, has+" stops itself", func() bool { return r.Err() != nil })
			err = r.Err()
		}
		_ = r.Shutdown()
		if !strings.Contains(err.Error(), "went back in time; keep the directory") {
			t.Errorf("%s stopped with %v", has, err)
		}
		if err := f.refusesToStart(has); err != nil && !strings.Contains(err.Error(), "given up") {
			t.Errorf("%s was started again: %v", has, err)
		}
		f.put(lost, "d4")
		f.eventually(append(want, "d4"))
	})
}

// TestWhatANodeWasToldIsAgreedOnOutlastsIt: the node that has the writes told another one so, and is gone. However
// often those that are left are started, they do not go on without it before somebody says that it does not come back;
// and they say why, and what to do.
func TestWhatANodeWasToldIsAgreedOnOutlastsIt(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		has, lost, late := f.powerCut()
		f.start(has)
		f.start(late)
		f.kill(has)
		f.start(lost)
		for range 2 {
			time.Sleep(time.Minute)
			for _, name := range []string{late, lost} {
				if leader := f.nodes[name].LeaderID(); leader != "" {
					t.Fatalf("%s is led by %s, and it was told what is agreed on", name, leader)
				}
			}
			h := f.nodes[late].Health()
			for _, part := range []string{"nobody leads its region", "start the member that has it", "the file HEARD"} {
				if h.Healthy || !strings.Contains(h.Problem, part) {
					t.Errorf("%s is healthy: %t, says %q, and not %q", late, h.Healthy, h.Problem, part)
				}
			}
			f.kill(late)
			f.start(late)
		}
		f.kill(late)
		f.forget(late)
		f.start(late)
		f.put(late, "d1")
		f.eventually([]string{"c0", "d1"})
		if h := f.nodes[late].Health(); !h.Healthy {
			t.Errorf("%s: %s", late, h.Problem)
		}
	})
}

// TestWhoJoinedBeforeIsToldHowTheRegionWasFormed: a version before noted nothing of it in the directory of a node that
// joined, so that its word and that of the others did not count for each other.
func TestWhoJoinedBeforeIsToldHowTheRegionWasFormed(t *testing.T) {
	inBubble(t, map[string]int{"us": 3}, func(f *testFleet) {
		f.put("us-1", "c0")
		const path = "/data/IDENTITY"
		born := func(name string) (formed map[string]string) {
			text, err := durable.ReadFile(pebblefs.New(f.nodes[name].disk), path)
			if err != nil {
				t.Fatal(err)
			}
			var is struct{ Formed map[string]string }
			if err := json.Unmarshal(text, &is); err != nil {
				t.Fatal(err)
			}
			return is.Formed
		}
		for _, name := range []string{f.followersOf("us")[0], f.leaderOf("us")} {
			f.stop(name)
			fs := pebblefs.New(f.nodes[name].disk)
			text, err := durable.ReadFile(fs, path)
			if err != nil {
				t.Fatal(err)
			}
			var is map[string]any
			decoder := json.NewDecoder(strings.NewReader(string(text)))
			decoder.UseNumber()
			if err := decoder.Decode(&is); err != nil {
				t.Fatal(err)
			}
			for _, field := range []string{"formed", "left", "sum"} {
				delete(is, field)
			}
			err = durable.WriteFile(fs, path, func(w io.Writer) error { return json.NewEncoder(w).Encode(is) })
			if err != nil {
				t.Fatal(err)
			}
			f.start(name)
			f.within(time.Minute, name+" knows how its region was formed", func() bool { return len(born(name)) == 3 })
		}
		f.put("us-1", "c1")
		f.eventually(values(0, 2))
	})
}
