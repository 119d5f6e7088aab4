//go:build unix

package localfleet

import (
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// TestMain is a node when FAKE_NODE is set: it answers at its peer address with its name until it is asked to end.
func TestMain(m *testing.M) {
	if os.Getenv("FAKE_NODE") == "" {
		os.Exit(m.Run())
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	var c Config
	text, err := os.ReadFile(os.Args[len(os.Args)-1])
	if err == nil {
		err = yaml.Unmarshal(text, &c)
	}
	if err != nil || os.Getenv("MIMIR_NAME") != "" {
		os.Exit(3)
	}
	l, err := net.Listen("tcp", c.ListenPeer)
	if err != nil {
		os.Exit(4)
	}
	go func() {
		for {
			c2, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c2, c.Name)
			c2.Close()
		}
	}()
	<-end
}

// greeting returns what is answered at an address, or why nothing is.
func greeting(addr string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	text, err := io.ReadAll(c)
	return string(text), err
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 2 minutes: %s", what)
		}
	}
}

func TestNodesLiveAndDie(t *testing.T) {
	t.Setenv("FAKE_NODE", "1")
	t.Setenv("MIMIR_NAME", "wrong")
	f, err := New(Options{Dir: t.TempDir(), Command: []string{os.Args[0]}, Regions: []string{"us", "eu"}, Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := f.Region("eu").Nodes[0]
	through := f.Region("us").Nodes[0].Config.Regions["eu"][0]
	if through == n.Config.ListenPeer {
		t.Fatal("the other region is reached without a link")
	}
	answers := func() bool { text, _ := greeting(through); return text == "eu-1" }
	refused := func() bool { _, err := greeting(through); return isRefused(err) }
	if !refused() {
		t.Error("the link listens before the node runs")
	}
	for life := range 2 {
		if err := Start(f.Nodes()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the node answers through the link", answers)
		if life > 0 {
			break
		}
		n.Kill()
		if n.Running() || n.ExitStatus() != -1 {
			t.Errorf("after a kill: running %t, status %d", n.Running(), n.ExitStatus())
		}
		eventually(t, "the link refuses", refused)
	}
	pid := n.PID()
	if status := n.Stop(); status != 0 {
		t.Errorf("after a stop: status %d, %s", status, n.Exit())
	}
	f.Close()
	if syscall.Kill(pid, 0) == nil || f.Region("us").Nodes[0].Running() {
		t.Error("a node outlived the fleet")
	}
}

func TestDirectFleetHasNoLinks(t *testing.T) {
	f, err := New(Options{Dir: t.TempDir(), Regions: []string{"us", "eu"}, Nodes: 1, Direct: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, want := f.Regions[0].Nodes[0].Config.Regions["eu"][0], f.Regions[1].Nodes[0].Config.ListenPeer
	if got != want {
		t.Errorf("eu is reached at %s, and listens at %s", got, want)
	}
}

func TestNodesMoveAndAreReplaced(t *testing.T) {
	t.Setenv("FAKE_NODE", "1")
	f, err := New(Options{Dir: t.TempDir(), Command: []string{os.Args[0]}, Regions: []string{"us", "eu"}, Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	eu, us := f.Region("eu"), f.Region("us")
	n, sibling := eu.Nodes[0], eu.Nodes[1]
	through := us.Nodes[0].Config.Regions["eu"][0]
	answers := func(name string) func() bool {
		return func() bool { text, _ := greeting(through); return text == name }
	}
	before := n.Config.ListenPeer
	if err := f.Move(n); err != nil {
		t.Fatal(err)
	}
	if at := n.Config.ListenPeer; at == before || n.Config.Nodes["eu-1"] != at || sibling.Config.Nodes["eu-1"] != at {
		t.Errorf("moved from %s to %s, which its file has as %v and that of its sibling as %v", before, at,
			n.Config.Nodes, sibling.Config.Nodes)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	there := func() bool { _, err := greeting(n.Config.ListenPeer); return err == nil }
	eventually(t, "the node answers where it is", there)
	if _, err := greeting(through); !isRefused(err) {
		t.Errorf("the link leads to the new place before it was told: %v", err)
	}
	n.Follow()
	eventually(t, "the link leads to the new place", answers("eu-1"))
	n.Kill()
	next, err := f.Replace(n)
	if err != nil {
		t.Fatal(err)
	}
	if eu.Nodes[0] != next || next.Config.Name != "eu-3" || !next.Config.Join || len(next.Config.Nodes) != 1 ||
		next.Config.Nodes["eu-2"] == "" || sibling.Config.Nodes["eu-3"] == "" || sibling.Config.Nodes["eu-1"] != "" {
		t.Errorf("replaced by %+v beside %+v", next.Config, sibling.Config)
	}
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the link leads to the new node", answers("eu-3"))
}
