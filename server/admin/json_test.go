package admin

import (
	"encoding/json"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// TestIdentifiersAreStrings, which no reader rounds; those of a node that writes numbers are read as well.
func TestIdentifiersAreStrings(t *testing.T) {
	in := Node{HealthStatus: &replication.HealthStatus{
		NodeID: `the "id": 5`, RaftID: 1<<64 - 1, LeaderRaftID: 1<<53 + 1, Term: 7,
		Nodes: []replication.NodeStatus{{ID: 3, Name: "id"}, {ID: 1<<63 + 1}},
	}, Revision: 12}
	text, err := Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var loose struct {
		RaftID, LeaderRaftID any
		Term, Revision       any
		Node                 string
		Nodes                []struct{ ID any }
	}
	if err := json.Unmarshal(text, &loose); err != nil {
		t.Fatal(err)
	}
	if loose.RaftID != "18446744073709551615" || loose.LeaderRaftID != "9007199254740993" || loose.Term != 7.0 ||
		loose.Revision != 12.0 || loose.Nodes[0].ID != "3" || loose.Nodes[1].ID != "9223372036854775809" ||
		loose.Node != in.NodeID {
		t.Errorf("%s", text)
	}
	numbers, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{text, numbers} {
		out := Node{HealthStatus: &replication.HealthStatus{}}
		if err := unmarshal(text, &out); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if out.RaftID != in.RaftID || out.Nodes[1].ID != in.Nodes[1].ID || out.NodeID != in.NodeID {
			t.Errorf("%+v from %s", out.HealthStatus, text)
		}
	}
}
