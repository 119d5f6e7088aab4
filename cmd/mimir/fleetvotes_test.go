//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// votingFleet is one of which the primary us is gone: eu-1 tells of these votes if it is reached, and ap-1, which is
// asked, knows of none. It returns where ap-1 is.
func votingFleet(t *testing.T, said replication.RegionVote, votes *replication.VoteStatus, reached bool) string {
	t.Helper()
	at := map[string]string{"eu-1": "http://127.0.0.1:1"}
	serve := func(name string, votes *replication.VoteStatus) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var v any = &admin.Node{HealthStatus: &replication.HealthStatus{NodeID: name, Healthy: true, Votes: votes}}
			if r.URL.Path == "/mimir/v1/fleet" {
				fleet := &replication.FleetStatus{Fleet: "f", Asked: name, Primary: "us"}
				for _, region := range []string{"ap", "eu"} {
					node := region + "-1"
					fleet.Regions = append(fleet.Regions, replication.RegionStatus{
						Name: region, Heard: true, By: node, Role: replication.RoleSecondary, Votes: said,
						Nodes: []replication.NodeStatus{{Name: node, Region: region, Reachable: true,
							ClientURLs: []string{at[node]}}},
					})
				}
				fleet.Regions = append(fleet.Regions, replication.RegionStatus{Name: "us", Votes: said})
				v = fleet
			}
			text, err := admin.Marshal(v)
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(text)
		}))
		t.Cleanup(s.Close)
		at[name] = s.URL
	}
	if reached {
		serve("eu-1", votes)
	}
	serve("ap-1", nil)
	return strings.TrimPrefix(at["ap-1"], "http://")
}

// Who has no vote knows of none: that none are taken is said by the word of the leader of the primary alone.
func TestWhoVotesIsAskedOfEveryRegion(t *testing.T) {
	charter := &replication.VoteStatus{Charter: 7, Epoch: 3, For: "us", Voters: []replication.VoterStatus{{ID: "eu"}}}
	for name, test := range map[string]struct {
		said    replication.RegionVote
		votes   *replication.VoteStatus
		reached bool
		status  int
		want    string
	}{
		"another region knows":    {replication.VoteUnknown, charter, true, exitDone, "charter 7 of epoch 3"},
		"it is not reached":       {replication.VoteUnknown, charter, false, exitFailed, "who votes is not known here"},
		"nobody knows":            {replication.VoteUnknown, nil, true, exitFailed, "who votes is not known here"},
		"they are, by the leader": {replication.VoteNo, nil, true, exitFailed, "who votes is not known here"},
		"none are, by the leader": {replication.VoteNone, nil, true, exitDone, "no votes are taken"},
	} {
		at := votingFleet(t, test.said, test.votes, test.reached)
		status, out, errs := mimir(t, "fleet", "show", "--endpoints", at)
		if status != test.status || !strings.Contains(out+errs, test.want) {
			t.Errorf("%s: exit status %d, %s%s", name, status, out, errs)
		}
	}
}
