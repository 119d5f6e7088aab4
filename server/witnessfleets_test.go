package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
	"github.com/mimir-kv/mimir/replication/witness"
)

// manned is a witness of several fleets.
type manned struct {
	t       *testing.T
	options WitnessOptions
	at      chan *witnessPorts
	ports   *witnessPorts // of at, once they were asked for
	log     *logged
	ended   chan error
	stop    func() error
}

// man runs a witness in dir for these fleets, until the test ends or it is stopped.
func man(t *testing.T, dir, keys string, fleets ...string) *manned {
	t.Helper()
	m := &manned{t: t, log: &logged{}, at: make(chan *witnessPorts, 1)}
	m.options = WitnessOptions{DataDir: dir, Listen: "127.0.0.1:0", ListenHTTP: "127.0.0.1:0",
		EncryptionKeyFile: keys, Logger: slog.New(slog.NewTextHandler(m.log, nil)), again: 10 * time.Millisecond,
		bound: func(p *witnessPorts) { m.at <- p }}
	for _, f := range fleets {
		m.options.Fleets = append(m.options.Fleets, WitnessFleet{ID: f, Name: "w1"})
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.ended = make(chan error, 1)
	go func() { m.ended <- RunWitness(ctx, m.options) }()
	m.stop = func() error {
		cancel()
		err := <-m.ended
		m.ended <- err
		return err
	}
	t.Cleanup(func() { m.stop() })
	return m
}

// listens waits until its ports are bound.
func (m *manned) listens() *witnessPorts {
	m.t.Helper()
	if m.ports == nil {
		select {
		case m.ports = <-m.at:
		case err := <-m.ended:
			m.ended <- err
			m.t.Fatalf("it has ended: %v\n%s", err, m.log)
		}
	}
	return m.ports
}

// ends waits until it ends by itself, and returns why.
func (m *manned) ends() error {
	m.t.Helper()
	select {
	case err := <-m.ended:
		m.ended <- err
		return err
	case <-time.After(time.Minute):
		m.t.Fatalf("it goes on\n%s", m.log)
		return nil
	}
}

// asked returns which voter of a fleet answers, by its identity.
func (m *manned) asked(fleet string) (identity string, err error) {
	node, err := grpctransport.New(grpctransport.Options{FleetID: fleet, NodeName: "us-1", Region: "us"})
	if err != nil {
		return "", err
	}
	defer node.Close()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	s, err := node.Open(ctx, m.listens().doors[0].Addr().String(), "call/1")
	if err != nil {
		return "", err
	}
	_ = s.Send([]byte(`{"op":"vote-enrol"}`))
	p, err := s.Recv()
	if err != nil {
		return "", err
	}
	var answer struct{ Body struct{ Voter, Identity any } }
	err = json.Unmarshal(p, &answer)
	return fmt.Sprint(answer.Body.Voter, answer.Body.Identity), err
}

// serves waits until a fleet is served, and returns who votes in it.
func (m *manned) serves(fleet string) (identity string) {
	m.t.Helper()
	m.until(fleet+" is served", func() (ok bool) {
		var err error
		identity, err = m.asked(fleet)
		return err == nil && strings.HasPrefix(identity, "witness/w1")
	})
	return identity
}

func (m *manned) until(what string, is func() bool) {
	m.t.Helper()
	for until := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(until) {
			m.t.Fatalf("not in a minute: %s\n%s", what, m.log)
		}
		time.Sleep(time.Millisecond)
	}
}

func (m *manned) get(path string) string {
	a, err := http.Get("http://" + m.listens().http.Addr().String() + path)
	if err != nil {
		return err.Error()
	}
	defer a.Body.Close()
	text, _ := io.ReadAll(a.Body)
	return fmt.Sprint(a.StatusCode, " ", string(text))
}

// says waits until it answers with a text.
func (m *manned) says(path, text string) {
	m.t.Helper()
	m.until(path+" has "+text, func() bool { return strings.Contains(m.get(path), text) })
}

// TestAWitnessOfSeveralFleets has votes of its own in each, serves no other, and keeps the directory of the fleet that
// it had first, so that a version which knows one fleet finds it.
func TestAWitnessOfSeveralFleets(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	alone := man(t, dir, "", "a")
	was := map[string]string{"a": alone.serves("a")}
	if err := alone.stop(); err != nil {
		t.Fatal(err)
	}
	both := man(t, dir, "", "b", "a", "c")
	for _, fleet := range []string{"b", "c"} {
		was[fleet] = both.serves(fleet)
	}
	if got := both.serves("a"); got != was["a"] || got == was["b"] || was["b"] == was["c"] {
		t.Errorf("a is %s now, and the others are %s", got, was)
	}
	both.says("/metrics", `mimir_witness_serving{fleet="c",name="w1"} 1`)
	both.says("/readyz", "200 ok")
	both.says("/readyz?fleet=e", "404")
	for range 3 {
		if _, err := both.asked("e"); !errors.Is(err, transport.ErrFleet) {
			t.Errorf("a fleet that is not named: %v", err)
		}
	}
	if n := strings.Count(both.log.String(), "a fleet that --fleet does not name"); n != 1 {
		t.Errorf("the log has it %d times", n)
	}
	if !strings.Contains(both.log.String(), "nodes of fleet a, c can speak as nodes of fleet b") {
		t.Errorf("it does not say that the fleets have no keys:\n%s", both.log)
	}
	if err := both.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "fleet-e")); err == nil {
		t.Error("a stranger has made a directory")
	}
	for fleet, identity := range was { // each alone again
		one := man(t, dir, "", fleet)
		if got := one.serves(fleet); got != identity {
			t.Errorf("%s was %s and is %s", fleet, identity, got)
		}
		if err := one.stop(); err != nil {
			t.Fatal(err)
		}
	}
	if err := man(t, dir, "", "d").ends(); !errors.Is(err, replication.ErrIdentity) {
		t.Errorf("in the directory of others: %v", err)
	}
}

// TestAFleetDoesNotEndTheOthers of its witness, whatever is wrong with its directory, and is served again when that is
// mended. Where none is left the process ends.
func TestAFleetDoesNotEndTheOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(dir, "fleet-c", "ballot.tmp") // nothing can be written
	if err := os.MkdirAll(full, 0o700); err != nil {
		t.Fatal(err)
	}
	m := man(t, dir, "", "a", "b", "c")
	was := m.serves("b")
	m.serves("a")
	m.says("/readyz", "503 fleet c: ")
	m.says("/readyz?fleet=a", "200")
	m.says("/metrics", `mimir_witness_serving{fleet="c",name="w1"} 0`)
	if _, err := m.asked("c"); !errors.Is(err, transport.ErrUnreachable) ||
		!strings.Contains(err.Error(), `does not serve fleet "c" now`) {
		t.Errorf("nodes of c are told: %v", err)
	}
	eventually(t, "the log has it", func(context.Context) bool { // before, c has only begun
		return strings.Contains(m.log.String(), "fleet is not served")
	})
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	m.serves("c")
	m.says("/readyz", "200 ok")
	told := map[string]bool{} // in the moment in which it is mended it may fail for another reason
	for line := range strings.Lines(m.log.String()) {
		if _, line, is := strings.Cut(line, "fleet is not served"); is && told[line] {
			t.Errorf("the log has it again: %s", line)
		} else if is {
			told[line] = true
		}
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}

	ballot := filepath.Join(dir, "fleet-a", "ballot")
	if err := os.WriteFile(ballot, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = man(t, dir, "", "a", "b")
	if got := m.serves("b"); got != was {
		t.Errorf("b was %s and is %s", was, got)
	}
	m.says("/readyz", ballot+" is not what was written")
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fleet-b", "ballot"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m = man(t, dir, "", "a", "b")
	if err := m.ends(); !errors.Is(err, replication.ErrDamaged) || strings.Contains(err.Error(), "\n") {
		t.Errorf("with none left: %v", err)
	}
}

// A disk that fails while a fleet is served ends that fleet alone, until it can be written again; a directory that is
// gone is not begun anew.
func TestAFleetWhoseDiskFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	m := &manned{t: t, log: &logged{}}
	m.options = WitnessOptions{DataDir: dir, Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(m.log, nil)),
		Fleets: []WitnessFleet{{ID: "a", Name: "w1"}, {ID: "b", Name: "w1"}}, again: 10 * time.Millisecond}
	ports, err := m.options.listen()
	if err != nil {
		t.Fatal(err)
	}
	m.ports = ports
	c := newCrew(m.options, ports)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	a, b := m.serves("a"), m.serves("b")
	place := filepath.Join(dir, "fleet-a")
	full := filepath.Join(place, "ballot.tmp")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	w := c.seats[0].witness
	c.mu.Unlock()
	charter := &timeline.Charter{Epoch: 2, Number: 1, Lease: timeline.MinLease, Voters: []timeline.Voter{
		{ID: "us", Priority: 1}, {ID: "witness/w1", Identity: w.State().Ballot.Identity, Addrs: []string{"x"}},
	}}
	record := func(w *witness.Witness) error {
		_, _, err := w.Record(ctx, &timeline.Control{Op: timeline.OpCharter, Charter: charter, To: "us"})
		return err
	}
	if err := record(w); !errors.Is(err, replication.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	m.until("a has failed", func() bool { return strings.Contains(m.log.String(), "witness w1 stopped") })
	if got := m.serves("b"); got != b {
		t.Errorf("b was %s and is %s", b, got)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	if got := m.serves("a"); got != a {
		t.Errorf("a was %s and is %s", a, got)
	}
	if err := os.Rename(place, place+"-away"); err != nil {
		t.Fatal(err)
	}
	m.until("a is served again", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		w = c.seats[0].witness
		return w != nil && w.Err() == nil
	})
	if err := record(w); !errors.Is(err, replication.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	m.until("a is not begun anew", func() bool { return strings.Contains(m.log.String(), "it is empty now") })
	if _, err := os.Stat(place); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", place, err)
	}
	if got := m.serves("b"); got != b {
		t.Errorf("b was %s and is %s", b, got)
	}
}

// The fleet to which the directory of the witness itself belongs must not begin anew because that cannot be read; and
// that of fleets that are not named is the wrong one.
func TestAWitnessKnowsWhoseItsDirectoryIs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w")
	m := man(t, dir, "", "a")
	m.serves("a")
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	if err := man(t, dir, "", "b", "c").ends(); !errors.Is(err, replication.ErrIdentity) {
		t.Errorf("in the directory of another: %v", err)
	}
	m = man(t, dir, "", "a", "b")
	m.serves("b")
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ballot"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = man(t, dir, "", "a", "b")
	m.serves("b")
	m.says("/readyz", "may have been this one's")
	if _, err := os.Stat(filepath.Join(dir, "fleet-a")); err == nil {
		t.Error("fleet a begins anew")
	}
}

// TestAWitnessOfSeveralFleetsWithKeys: each directory is encrypted, and that of one is not another's business.
func TestAWitnessOfSeveralFleetsWithKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "w[1]") // a name, and no pattern
	line, _ := atrest.NewKey()
	next, _ := atrest.NewKey()
	quiet := slog.New(slog.DiscardHandler)
	m := man(t, dir, keyFile(t, line), "a")
	was := map[string]string{"a": m.serves("a")}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	m = man(t, dir, keyFile(t, line), "a", "b")
	was["b"] = m.serves("b")
	if got := m.serves("a"); got != was["a"] {
		t.Errorf("a was %s and is %s", was["a"], got)
	}
	if _, _, err := RewriteAtRest(dir, keyFile(t, next, line), quiet); err == nil {
		t.Error("rewritten beside the witness")
	}
	if err := m.stop(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := RewriteAtRest(dir, keyFile(t, next, line), quiet); err != nil {
		t.Error(err)
	}
	if _, _, err := RewriteAtRest(dir, keyFile(t, "plain", next), quiet); err != nil {
		t.Error(err)
	}
	m = man(t, dir, "", "a", "b")
	for fleet, identity := range was {
		if got := m.serves(fleet); got != identity {
			t.Errorf("%s was %s and is %s", fleet, identity, got)
		}
	}
}
