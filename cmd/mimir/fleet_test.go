package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// Who orders a move, or a recovery, waits for longer than the node takes at most: the node says how it ended.
func TestOrdersOutlastTheNode(t *testing.T) {
	if moveTimeout <= admin.MoveTime {
		t.Errorf("a move is waited for %v, and a node takes %v", moveTimeout, admin.MoveTime)
	}
	for _, votes := range []*replication.VoteStatus{
		{Lease: time.Second}, {Lease: time.Hour}, {Lease: time.Second, Former: time.Hour}, nil,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(&replication.HealthStatus{NodeID: "eu-1", Region: "eu", Votes: votes})
		}))
		client, err := admin.NewClient([]string{s.URL}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := recoveryTimeout(t.Context(), client); got <= admin.RecoveryTime(votes) {
			t.Errorf("%+v: a recovery is waited for %v", votes, got)
		}
		client.Close()
		s.Close()
	}
}
