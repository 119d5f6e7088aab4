package server

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// renews asks a witness for its support, as a node does that remembers its words, and returns what it says of itself,
// and why it gives none.
func (m *manned) renews(fleet, heard string) (word map[string]any, why string) {
	m.t.Helper()
	node, err := grpctransport.New(grpctransport.Options{FleetID: fleet, NodeName: "us-1", Region: "us"})
	if err != nil {
		m.t.Fatal(err)
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	s, err := node.Open(ctx, m.listens().doors[0].Addr().String(), "call/1")
	if err != nil {
		m.t.Fatal(err)
	}
	_ = s.Send([]byte(`{"op":"vote-renew","body":{"region":"us","epoch":1,"heard":[` + heard + `]}}`))
	p, err := s.Recv()
	if err != nil {
		m.t.Fatal(err)
	}
	var answer struct {
		Body struct {
			Word map[string]any
			Why  struct{ Text string }
		}
	}
	if err := json.Unmarshal(p, &answer); err != nil {
		m.t.Fatal(err)
	}
	return answer.Body.Word, answer.Body.Why.Text
}

// TestAWitnessThatWentBackIsNotReady, in the fleet in which it did, and says why, also when it is started again; the
// others are not touched.
func TestAWitnessThatWentBackIsNotReady(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	m := man(t, dir, "", "a", "b")
	m.serves("a")
	m.serves("b")
	word, why := m.renews("a", "")
	if word["start"] != 1.0 || word["writes"] != 1.0 || strings.Contains(why, "older copy") {
		t.Fatalf("it says %v of itself, and %q", word, why)
	}
	m.says("/readyz", "200 ")
	later := fmt.Sprintf(`{"line":%q,"start":3,"boot":"x","writes":9}`, word["line"])
	for _, heard := range []string{later, ""} { // and one who remembers nothing
		if _, why = m.renews("a", heard); !strings.Contains(why, "its directory is an older copy") {
			t.Errorf("it does not refuse: %q", why)
		}
	}
	for range 2 {
		m.says("/readyz", "503 ")
		m.says("/readyz?fleet=a", "start 3 of it is known")
		m.says("/readyz?fleet=b", "200 ")
		m.says("/metrics", `mimir_witness_serving{fleet="a",name="w1"} 0`)
		m.says("/metrics", `mimir_witness_serving{fleet="b",name="w1"} 1`)
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}
		m = man(t, dir, "", "a", "b")
		m.serves("b")
	}
}
