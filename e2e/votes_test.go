package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

// smallest is two regions of one node and a witness.
type smallest struct {
	t      *testing.T
	us, eu *localfleet.Node
}

// startSmallest starts it; who is named in before runs that binary.
func startSmallest(t *testing.T, before map[string]string) *smallest {
	dir := t.TempDir()
	binary := built(t)
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{binary, "serve"}, Lease: "1s", Patience: "0s",
		Witness: []string{binary, "witness", "--fleet", "damaged", "--fleet", replication.DefaultFleetID},
		Regions: []string{"us", "eu"}, Nodes: 1, Direct: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(f.Witness.Config.DataDir, "fleet-damaged", "ballot")
	if err := os.MkdirAll(damaged, 0o700); err != nil {
		t.Fatal(err)
	}
	nodes := append(f.Nodes(), f.Witness)
	for _, n := range nodes {
		if old := before[n.Config.Name]; old != "" && n.Arguments != nil {
			n.Arguments[0] = old
		} else if old != "" {
			n.Command = []string{old, "serve"}
		}
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			n.Kill()
		}
		f.Close()
	})
	if err := localfleet.Start(nodes); err != nil {
		t.Fatal(err)
	}
	return &smallest{t, f.Regions[0].Nodes[0], f.Regions[1].Nodes[0]}
}

// holds waits until a node leads a primary that holds a lease.
func (s *smallest) holds(n *localfleet.Node) {
	s.t.Helper()
	s.until(n.Config.Name+" has a lease", func(ctx context.Context) bool {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Config.ListenClient+"/mimir/v1/node", nil)
		if err != nil {
			return false
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer a.Body.Close()
		var node struct{ Votes *struct{ Holds bool } }
		return json.NewDecoder(a.Body).Decode(&node) == nil && node.Votes != nil && node.Votes.Holds
	})
}

func (s *smallest) until(what string, is func(ctx context.Context) bool) time.Duration {
	s.t.Helper()
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
		done := is(ctx)
		cancel()
		if done {
			return time.Since(began)
		}
		if time.Since(began) > time.Minute {
			s.t.Fatalf("not in a minute: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *smallest) client(n *localfleet.Node) *clientv3.Client {
	c, err := connect(n.Config.ListenClient)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

func puts(c *clientv3.Client, key string) func(ctx context.Context) bool {
	return func(ctx context.Context) bool {
		_, err := c.Put(ctx, key, "x")
		return err == nil
	}
}

// TestTwoNodesAndAWitnessGoOnWithoutEither: the primary stands still past its lease and wakes, and acknowledges nothing
// then that the other does not know of; the other dies, and the first one goes on. The witness is one of two fleets, of
// which the other is damaged.
func TestTwoNodesAndAWitnessGoOnWithoutEither(t *testing.T) {
	if testing.Short() || runtime.GOOS == "windows" {
		t.Skip("real processes")
	}
	startSmallest(t, nil).goesOn()
}

// TestVersionBeforeVotes: the same where one of the three is of the version before. Who votes and who is voted for
// understand each other.
func TestVersionBeforeVotes(t *testing.T) {
	if *before == "" {
		t.Skip("builds another version; see CONTRIBUTING.md: -before last")
	}
	old := binaryOf(t, *before, t.TempDir())
	for _, name := range []string{localfleet.WitnessName, "us-1", "eu-1"} {
		t.Run(name, func(t *testing.T) { startSmallest(t, map[string]string{name: old}).goesOn() })
	}
}

// goesOn has us stand still and wake, and then eu die.
func (s *smallest) goesOn() {
	t := s.t
	s.holds(s.us)
	us, eu := s.client(s.us), s.client(s.eu)
	s.until("eu takes a write", puts(eu, "before"))
	if err := suspend(s.us.PID()); err != nil {
		t.Fatal(err)
	}
	type write struct {
		key   string
		acked bool
	}
	began := time.Now()
	late := make(chan write, 20)
	for i := range cap(late) { // they wait in the connection to the one that stands still
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			key := fmt.Sprintf("late%02d", i)
			_, err := us.Put(ctx, key, "x")
			late <- write{key, err == nil}
		}()
	}
	read := make(chan int64, 1)
	took := s.until("eu takes over", puts(eu, "taken over"))
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if g, err := us.Get(ctx, "taken over"); err != nil {
			read <- -1
		} else {
			read <- g.Count
		}
	}()
	t.Logf("us stands still, and eu takes the next write after %v", took)
	if err := resume(s.us.PID()); err != nil {
		t.Fatal(err)
	}
	if n := <-read; n == 0 {
		t.Error("a linearizable read at the old primary does not see what the new one has")
	}
	t.Logf("read after %v", time.Since(began))
	for range cap(late) {
		w := <-late
		g, err := eu.Get(t.Context(), w.key)
		if err != nil || w.acked && g.Count == 0 {
			t.Errorf("%s: acknowledged %t, %v, and eu does not have it", w.key, w.acked, err)
		}
	}
	t.Logf("writes after %v", time.Since(began))
	s.until("us follows", func(ctx context.Context) bool {
		g, err := us.Get(ctx, "taken over", clientv3.WithSerializable())
		return err == nil && g.Count == 1
	})
	s.eu.Kill()
	took = s.until("us takes over", puts(us, "back"))
	t.Logf("eu is killed, and us takes the next write after %v", took)
}
