//go:build unix

package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is the fake node when FAKE_NODE is set: it says that it runs and ends when it is asked to.
func TestMain(m *testing.M) {
	if os.Getenv("FAKE_NODE") == "" {
		os.Exit(m.Run())
	}
	if os.Getenv("MIMIR_NAME") != "" {
		fmt.Println("MIMIR_ variables were handed down")
		os.Exit(3)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	config := os.Args[len(os.Args)-1]
	if os.Getenv("FAKE_NODE") == "broken" {
		fmt.Println("cannot start with", config)
		os.Exit(1)
	}
	os.WriteFile(config+".runs", nil, 0o644)
	<-end
	os.WriteFile(config+".stopped", nil, 0o644)
}

// output is a buffer that can be waited on.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// fakeFleet starts a fleet of fake nodes and returns it when it is ready, with what stops it.
func fakeFleet(t *testing.T, o Options) (*Fleet, *output, func() error) {
	t.Helper()
	out := &output{}
	ready := make(chan *Fleet, 1)
	o.Serve, o.Out = []string{os.Args[0]}, out
	o.OnReady = func(f *Fleet, _ time.Duration) { ready <- f }
	o.Ready = func(_ context.Context, f *Fleet, _ string) string {
		for _, r := range f.Regions {
			for i := range r.Nodes {
				if _, err := os.Stat(filepath.Join(o.Dir, r.Nodes[i].Name, "config.yaml.runs")); err != nil {
					return r.Nodes[i].Name
				}
			}
		}
		return ""
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o, nil) }()
	end := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { end() })
	select {
	case f := <-ready:
		return f, out, end
	case err := <-done:
		done <- err
		t.Fatalf("did not start: %v", err)
	case <-time.After(2 * time.Minute):
		t.Fatal("not ready in 20 s")
	}
	return nil, nil, nil
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestFleetLife(t *testing.T) {
	t.Setenv("FAKE_NODE", "good")
	t.Setenv("MIMIR_NAME", "wrong")
	dir := t.TempDir()
	f, out, end := fakeFleet(t, Options{Dir: dir, Regions: []string{"us", "eu"}, Nodes: 2})
	text, err := os.ReadFile(filepath.Join(dir, "fleet.json"))
	if err != nil {
		t.Fatal(err)
	}
	var saved Fleet
	if err := json.Unmarshal(text, &saved); err != nil || len(saved.Regions) != 2 ||
		saved.Regions[1].Nodes[1].Name != "eu-2" {
		t.Fatalf("fleet.json: %s, %v", text, err)
	}
	if err := Run(t.Context(), Options{Dir: dir, Out: io.Discard}, nil); err == nil ||
		!strings.Contains(err.Error(), "another mimir dev") {
		t.Errorf("a second fleet in the same directory: %v", err)
	}
	victim := saved.Regions[0].Nodes[1]
	syscall.Kill(victim.PID, syscall.SIGKILL)
	eventually(t, "the killed node is reported", func() bool {
		return strings.Contains(out.String(), "us-2") &&
			strings.Contains(out.String(), filepath.Join(dir, "us-2", "config.yaml"))
	})
	survivor := f.Regions[1].Nodes[0]
	if !alive(survivor.PID) {
		t.Error("another node ended with the killed one")
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	for _, r := range f.Regions {
		for _, n := range r.Nodes {
			if alive(n.PID) {
				t.Errorf("%s outlived the fleet", n.Name)
			}
			if _, err := os.Stat(filepath.Join(dir, n.Name, "config.yaml.stopped")); err != nil && n.PID != victim.PID {
				t.Errorf("%s was not stopped in good order", n.Name)
			}
		}
	}

	again, _, _ := fakeFleet(t, Options{Dir: dir, WANDelay: time.Millisecond})
	if again.Regions[1].Nodes[0].Client != survivor.Client || again.Regions[1].Nodes[0].PID == survivor.PID {
		t.Error("a second run does not go on with the same addresses and new processes")
	}
	us, err := os.ReadFile(filepath.Join(dir, "us-1", "config.yaml"))
	if err != nil || strings.Contains(string(us), survivor.Peer) ||
		!strings.Contains(string(us), saved.Regions[0].Nodes[1].Peer) {
		t.Errorf("with a delay, other regions must be reached through proxies and the own one directly:\n%s", us)
	}
}

func TestFleetOfAnotherShape(t *testing.T) {
	dir := t.TempDir()
	f := &Fleet{Regions: []Region{{Name: "us", Nodes: make([]Node, 3)}}}
	if err := f.save(dir); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{Dir: dir, Regions: []string{"eu"}}, {Dir: dir, Nodes: 1}} {
		if err := Run(t.Context(), o, nil); err == nil ||
			!strings.Contains(err.Error(), "holds a fleet of the regions us with 3 nodes") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestNodeThatCannotStart(t *testing.T) {
	t.Setenv("FAKE_NODE", "broken")
	err := Run(t.Context(), Options{
		Dir: t.TempDir(), Nodes: 1, Serve: []string{os.Args[0]}, Out: io.Discard,
		Ready: func(context.Context, *Fleet, string) string { return "everything" },
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "exit status 1; its last words: cannot start with") {
		t.Errorf("got %v", err)
	}
}
