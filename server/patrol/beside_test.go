package patrol

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/kv/command"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Who answers no more when the leases of nodes are looked at again was not compared whole, and what differs is found
// when he is back.
func TestWhoGoesAwayBetweenTwoLooks(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		s.found()
		s.but("eu-3", command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: 9, TTL: 60}), remove("/nothing"))
		away := func(off bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.crew["eu-3"].off = off
		}
		s.hook("eu-3", func(q string) {
			if strings.Contains(q, `"beside"`) {
				away(true)
			}
		})
		before := s.patrol.Report().Nodes[2]
		if wrong, unsure := s.found(); wrong+unsure != "" {
			t.Fatalf("found %q, unsure %q", wrong, unsure)
		}
		if n := s.patrol.Report().Nodes[2]; n.Node != "eu-3" || n.Why == "" || !n.At.Equal(before.At) {
			t.Errorf("%+v, was %+v", n, before)
		}
		s.hook("eu-3", nil)
		away(false)
		if wrong, _ := s.found(); wrong != "eu-3" {
			t.Errorf("found %q when it was back", wrong)
		}
	})
}

// Who is the only one that answers when leases are looked at was compared with nobody.
func TestNobodyElseAnswers(t *testing.T) {
	sail(t, []string{"us-1", "eu-1"}, func(t *testing.T, s *ship) {
		s.hook("us-1", func(q string) {
			if strings.Contains(q, `"digest"`) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.crew["us-1"].off = true
			}
		})
		s.found()
		for _, n := range s.patrol.Report().Nodes {
			if n.Why == "" || !n.At.IsZero() {
				t.Errorf("%+v", n)
			}
		}
	})
}

// A difference of which no alarm could be raised is told until it is not found again.
func TestWhatWasMendedIsToldNoMore(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		s.mu.Lock()
		s.crew["eu-1"].old = true
		s.mu.Unlock()
		s.but("eu-2", put(key(7), "x"), put(key(7), "y"))
		s.found()
		time.Sleep(2 * every)
		if f := s.patrol.Report().Findings; len(f) == 0 || f[0].Untold == "" {
			t.Fatalf("%+v", f)
		}
		s.all(remove(key(7)))
		s.all(command.EncodeCompaction(&pb.CompactionRequest{Revision: s.crew["us-1"].Revision()}))
		time.Sleep(2 * every)
		if f := s.patrol.Report().Findings; len(f) != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// Who formed his region anew by himself has another history under the same name: that he holds less says nothing of the
// others, who are compared as far as they are, and that he holds something else is no difference.
func TestAnotherHistoryIsNotCompared(t *testing.T) {
	sail(t, six, func(t *testing.T, s *ship) {
		s.mu.Lock()
		for name, n := range s.crew {
			n.history = map[bool]string{true: "anew", false: "true"}[name == "us-3"]
		}
		s.crew["eu-1"].history = "" // of a version before
		s.mu.Unlock()
		for _, m := range s.members {
			switch m.Name {
			case "us-3":
				s.apply(m.Name, put(key(3), "of another life"))
			case "eu-3":
				s.apply(m.Name, remove("/nothing"), put(key(200), "damaged"))
			default:
				s.apply(m.Name, remove("/nothing"), put(key(200), "whole"))
			}
		}
		for _, m := range s.members {
			if m.Name != "us-3" {
				s.apply(m.Name, put(key(201), "more"))
			}
		}
		if wrong, unsure := s.found(); wrong != "eu-3" || unsure != "" {
			t.Errorf("found %q, unsure %q", wrong, unsure)
		}
		if got, want := s.patrol.Report().Revision, s.crew["us-1"].Revision(); got != want {
			t.Errorf("compared up to revision %d, want %d", got, want)
		}
		s.all(put(key(202), "more"))
		s.apply("us-1", put(key(203), "us-2 has not"))
		if s.found(); s.patrol.Report().Revision != s.crew["us-2"].Revision() {
			t.Errorf("compared up to revision %d, and us-2 is at %d", s.patrol.Report().Revision,
				s.crew["us-2"].Revision())
		}
		for _, n := range s.patrol.Report().Nodes {
			switch apart := strings.Contains(n.Why, "another history"); {
			case n.Node == "us-3" && (!apart || !n.At.IsZero()):
				t.Errorf("%+v", n)
			case n.Node != "us-3" && n.Node != "eu-3" && (n.Why != "" || n.At.IsZero()):
				t.Errorf("%+v", n)
			}
		}
	})
}
