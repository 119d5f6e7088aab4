package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestWhatIsListedOfRegions: what nobody said is unknown, and never a zero.
func TestWhatIsListedOfRegions(t *testing.T) {
	f := &replication.FleetStatus{Fleet: "f", Asked: "us-1", Primary: "us", Epoch: 2,
		Roster: &replication.RosterMark{Epoch: 2, Number: 3, By: "us"},
		Regions: []replication.RegionStatus{
			{Name: "ap", Lag: replication.Lag{Seconds: -1}, KnownFrom: replication.FromRoster, Addrs: []string{"c:1"},
				Votes: replication.VoteNo, SlotKnown: true, Problem: "no node answers"},
			{Name: "eu", Heard: true, Role: replication.RoleSecondary, Position: 7, Source: "us", Connected: true,
				Lag: replication.Lag{Commands: 2, Seconds: 0.5}, KnownFrom: replication.FromRoster,
				Votes: replication.VoteYes, Addrs: []string{"b:1", "b:2"}, SlotKnown: true,
				Slot: &replication.SlotPosition{Position: 5}},
			{Name: "old", Heard: true, Role: replication.RoleSecondary, Source: "us",
				Lag: replication.Lag{Seconds: -1}, Nodes: []replication.NodeStatus{{PeerAddr: "o:1"}}},
			{Name: "us", Heard: true, Role: replication.RolePrimary, Position: 9, KnownFrom: replication.FromRoster,
				Votes: replication.VoteYes, Addrs: []string{"a:1"}},
		}}
	list := listRegions(f)
	var out strings.Builder
	list.print(&out)
	const want = `fleet f: regions roster 3 of epoch 2, written by us, as us-1 has it

REGION  ROLE       VOTES    SOURCE              LAG                       SLOT     KNOWN FROM  ADDRESSES
ap      unknown    no       unknown             unknown                   none     roster      c:1
eu      secondary  yes      us                  2 commands, 0 B, 0.50 s   5        roster      b:1,b:2
old     secondary  unknown  us (not connected)  unknown                   unknown  unknown     o:1
us      primary    yes      -                   -                         -        roster      a:1
ap: no node answers
`
	if squeeze(out.String()) != squeeze(want) {
		t.Errorf("printed\n%s\nwant\n%s", &out, want)
	}
	text, err := json.Marshal(list)
	for _, part := range []string{
		`"name":"ap","role":"unknown","votes":"no","source":"unknown","connected":false,"position":null`,
		`"slot":null,"slotKnown":true,"knownFrom":"roster"`, `"slot":{"position":5}`,
		`"source":"","connected":false,"position":9`, `"roster":{"epoch":2,"number":3,"by":"us"}`,
	} {
		if err != nil || !strings.Contains(string(text), part) {
			t.Errorf("%s has not %s, %v", text, part, err)
		}
	}
	f.Roster, f.Regions = nil, nil
	out.Reset()
	listRegions(f).print(&out)
	if !strings.HasPrefix(out.String(), "fleet f: regions by the configuration of us-1\n") {
		t.Errorf("without a roster: %s", &out)
	}
}

// squeeze makes columns of any width alike.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}

// TestWhenARegionFollows: not before it has the history, streams, and acknowledged.
func TestWhenARegionFollows(t *testing.T) {
	whole := replication.RegionStatus{Name: "ap", Heard: true, Role: replication.RoleSecondary, Connected: true,
		Position: 9,
		Lag:      replication.Lag{Seconds: 0.1}, Slot: &replication.SlotPosition{Position: 9}}
	nothing := whole
	nothing.Position, nothing.Slot = 0, nil
	if !follows(&nothing) {
		t.Error("a region of a fleet that has nothing does not follow")
	}
	for stage, change := range map[string]func(r *replication.RegionStatus){
		"": func(*replication.RegionStatus) {},
		"does not answer: gone": func(r *replication.RegionStatus) {
			r.Heard, r.Role, r.Problem = false, "", "gone"
		},
		"fetching a copy: 3 of 9 MiB": func(r *replication.RegionStatus) { r.Activity = "fetching a copy: 3 of 9 MiB" },
		"is about to follow":          func(r *replication.RegionStatus) { r.Connected = false },
		"no leader": func(r *replication.RegionStatus) {
			r.Connected, r.Problem = false, "no leader"
		},
		"follows, 5000 commands, 0 B, 0.10 s behind": func(r *replication.RegionStatus) { r.Lag.Commands = 5000 },
		"follows, unknown behind":                    func(r *replication.RegionStatus) { r.Lag.Seconds = -1 },
		"follows, 0 commands, 0 B, 0.10 s behind":    func(r *replication.RegionStatus) { r.Slot = nil },
	} {
		r := whole
		change(&r)
		if got := follows(&r); got != (stage == "") {
			t.Errorf("%q: follows %v", stage, got)
		}
		if got := stageOf(&r); stage != "" && got != stage {
			t.Errorf("%q, want %q", got, stage)
		}
	}
}

// TestAStageIsSaidOnce where nobody looks at a terminal.
func TestAStageIsSaidOnce(t *testing.T) {
	var out strings.Builder
	w := regionWatch{out: &out}
	at := time.Unix(100, 0)
	for i, stage := range []string{"a", "a", "b", "b", "c", "c"} {
		w.show(at.Add(time.Duration(i)*3*time.Second), stage)
	}
	w.end()
	if got := out.String(); got != "a\nb\nc\n" {
		t.Errorf("said %q", got)
	}
}

// TestWhatIsWaitedForOfARegion that was added: until it follows, or is primary, or is known to be gone again; and
// meanwhile it is said why nothing is known.
func TestWhatIsWaitedForOfARegion(t *testing.T) {
	mark := func(e replication.Epoch, number uint64) *replication.RosterMark {
		return &replication.RosterMark{Epoch: e, Number: number, By: "us"}
	}
	fleet := func(r *replication.RosterMark, regions ...replication.RegionStatus) *replication.FleetStatus {
		return &replication.FleetStatus{Asked: "eu-1", Roster: r, Regions: regions}
	}
	w, now := &regionWatch{}, time.Unix(100, 0)
	look := func(says string, done bool, f *replication.FleetStatus, err error) {
		t.Helper()
		got, err := w.look(now, "ap", f, err)
		said := w.stage
		if err != nil {
			said = err.Error()
		}
		if (got != nil) != done || !strings.Contains(said, says) {
			t.Errorf("%+v, %q; want %q", got, said, says)
		}
	}
	look("no node tells: refused", false, nil, errors.New("refused"))
	look("eu-1, which was asked, does not have it yet", false, fleet(mark(1, 1)), nil)
	look("is about to follow", false, fleet(mark(1, 2), replication.RegionStatus{Name: "ap", Heard: true}), nil)
	look("does not have it yet", false, fleet(mark(1, 1)), nil) // a node that is behind
	look("none any more by roster 2 of epoch 2, which us wrote", false, fleet(mark(2, 2)), nil)
	look("", true, fleet(mark(2, 3), replication.RegionStatus{Name: "ap", Role: replication.RolePrimary}), nil)

	w = &regionWatch{done: "was added", epoch: 1, number: 2} // by an order of which a failover takes the roster
	look("eu-1, which was asked, does not have it yet", false, fleet(mark(1, 1)), nil)
	look("does not have it yet", false, fleet(mark(1, 2)), nil)
	look("none any more by roster 3 of epoch 1", false, fleet(mark(1, 3)), nil)
	look("none any more by roster 1 of epoch 2", false, fleet(mark(2, 1)), nil)

	w = &regionWatch{done: "was added", epoch: 1, number: 2}
	for _, missing := range []struct {
		says string
		f    *replication.FleetStatus
		err  error
	}{
		{"does not have it yet", fleet(mark(1, 1)), nil}, {"no node tells: refused", nil, errors.New("refused")},
		{"does not answer", fleet(mark(1, 2), replication.RegionStatus{Name: "ap"}), nil},
	} {
		look("is about to follow", false, fleet(mark(1, 2), replication.RegionStatus{Name: "ap", Heard: true}), nil)
		now = now.Add(unseenTimeout)
		look(missing.says, false, missing.f, missing.err)
		now = now.Add(unseenTimeout - 1)
		look(missing.says, false, missing.f, missing.err)
		now = now.Add(1)
		look("region ap was added, and nothing was seen of it for 10m0s: "+w.stage, false, missing.f, missing.err)
	}
}
