package server

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

const older = "its directory is an older copy"

// asks puts a question to the witness in a fleet, as a node of us, and returns what it answers.
func (m *manned) asks(fleet, question string, body any) (answer json.RawMessage) {
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
	asked, err := json.Marshal(map[string]any{"op": question, "body": body})
	if err != nil {
		m.t.Fatal(err)
	}
	_ = s.Send(asked)
	p, err := s.Recv()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := json.Unmarshal(p, &struct{ Body any }{&answer}); err != nil {
		m.t.Fatal(err)
	}
	return answer
}

// word is what a witness says of its directory, as it travels.
type word = map[string]any

// charter returns the first one of a fleet, of us and the witness.
func (m *manned) charter(fleet string) *timeline.Charter {
	m.t.Helper()
	var enrolled struct{ Identity timeline.Nonce }
	if err := json.Unmarshal(m.asks(fleet, "vote-enrol", nil), &enrolled); err != nil {
		m.t.Fatal(err)
	}
	return &timeline.Charter{Epoch: 1, Number: 1, Lease: timeline.MinLease, Voters: []timeline.Voter{
		{ID: "us", Priority: 1}, {ID: "witness/w1", Identity: enrolled.Identity, Addrs: []string{"x"}},
	}}
}

// renews asks a witness for its support of us, by a charter, as a node that heard these words, and returns what it says
// of itself, and why it gives none: it does not know how far us is.
func (m *manned) renews(fleet string, c *timeline.Charter, heard ...word) (word word, why string) {
	m.t.Helper()
	var voter timeline.Nonce
	if c != nil {
		voter = c.Voter("witness/w1").Identity
	}
	var answer struct {
		Word map[string]any
		Why  struct{ Text string }
	}
	if err := json.Unmarshal(m.asks(fleet, "vote-renew", map[string]any{"region": "us", "epoch": 1, "term": 1,
		"voter": voter, "charter": c, "heard": heard}), &answer); err != nil {
		m.t.Fatal(err)
	}
	return answer.Word, answer.Why.Text
}

// TestAWitnessThatWentBackIsNotReady, in the fleet in which it did, and says why, also when it is started again; the
// others are not touched.
func TestAWitnessThatWentBackIsNotReady(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	m := man(t, dir, "", "a", "b")
	again := func() {
		t.Helper()
		if err := m.stop(); err != nil {
			t.Fatal(err)
		}
		m = man(t, dir, "", "a", "b")
		m.serves("a")
		m.serves("b")
	}
	m.serves("a")
	m.serves("b")
	c := m.charter("a")
	m.renews("a", c)
	copied, err := os.ReadFile(filepath.Join(dir, "fleet-a", "ballot"))
	if err != nil {
		t.Fatal(err)
	}
	again()
	heard, why := m.renews("a", c)
	if heard["start"] != 2.0 || strings.Contains(why, older) {
		t.Fatalf("it says %v of itself, and %q", heard, why)
	}
	m.says("/readyz", "200 ")
	if err := os.WriteFile(filepath.Join(dir, "fleet-a", "ballot"), copied, 0o600); err != nil {
		t.Fatal(err)
	}
	again()
	for _, remembers := range [][]word{{heard}, nil} { // and one who remembers nothing
		if _, why = m.renews("a", c, remembers...); !strings.Contains(why, older) {
			t.Errorf("it does not refuse: %q", why)
		}
	}
	for range 2 {
		m.says("/readyz", "503 ")
		m.says("/readyz?fleet=a", "start 2 of it is known")
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

// TestAForgedWordEndsNoWitness: who may ask it, and knows no word, is told none; and one that was made up, or changed
// on the way, is not judged.
func TestAForgedWordEndsNoWitness(t *testing.T) {
	m := man(t, filepath.Join(t.TempDir(), "w"), "", "a")
	m.serves("a")
	if told, why := m.renews("a", nil); told != nil || why == "" || strings.Contains(why, older) {
		t.Errorf("who is no voter is told %v, %q", told, why)
	}
	c := m.charter("a")
	known, why := m.renews("a", c)
	if known["line"] == nil || known["seal"] == nil || strings.Contains(why, older) {
		t.Fatalf("a voter is told %v, %q", known, why)
	}
	for name, value := range map[string]any{"start": 1 << 40, "writes": 1 << 40, "boot": "x", "seal": nil} {
		forged := maps.Clone(known)
		forged["start"], forged[name] = 2, value
		if _, why := m.renews("a", c, forged); strings.Contains(why, older) {
			t.Errorf("it believes %v: %q", forged, why)
		}
		forged = maps.Clone(known)
		if forged[name] = value; name == "seal" {
			forged["start"] = 1 << 40
		}
		if _, why := m.renews("a", c, forged); strings.Contains(why, older) {
			t.Errorf("it believes %v: %q", forged, why)
		}
	}
	m.says("/readyz", "200 ")
}
