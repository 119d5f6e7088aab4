package replication_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestCommandsWaitForOlderNodes: a command that a node of the fleet does not understand is not understood, whoever is
// asked, until that one is upgraded; once one was applied nobody need be asked any more, and an older node does not
// start on what it left.
func TestCommandsWaitForOlderNodes(t *testing.T) {
	level := timeline.LevelFirst // of eu-1
	adapt := func(c *replication.Config) {
		c.CommandLevel = func(command []byte) timeline.Level {
			if command[0] == 'u' {
				return timeline.LevelUsers
			}
			return timeline.LevelFirst
		}
		if c.NodeID == "eu-1" {
			c.EntryLevel = &level
		}
	}
	shaped(t, map[string]int{"us": 1, "eu": 1}, adapt, func(f *testFleet) {
		us := f.nodes["us-1"]
		f.put("us-1", "c0")
		f.eventually(values(0, 1))
		time.Sleep(10 * time.Second) // reports come once in a while
		asked := func(command string) error { return us.Understood(f.t.Context(), []byte(command)) }
		if err := asked("c1"); err != nil {
			t.Errorf("of all: %v", err)
		}
		for _, name := range f.names() {
			err := f.nodes[name].Understood(f.t.Context(), []byte("u"))
			if !errors.Is(err, replication.ErrNotReady) || !strings.Contains(err.Error(), "too old: upgrade all") {
				t.Errorf("asked at %s: %v", name, err)
			}
		}
		again := func(l timeline.Level) {
			f.kill("eu-1")
			level = l
			f.start("eu-1")
		}
		again(timeline.LevelNow)
		for deadline := time.Now().Add(time.Minute); asked("u") != nil; time.Sleep(time.Second) {
			if time.Now().After(deadline) {
				t.Fatal(asked("u"))
			}
		}
		f.put("us-1", "u1")
		f.eventually([]string{"c0", "u1"})
		f.kill("eu-1")
		if err := asked("u"); err != nil {
			t.Errorf("after one was applied: %v", err)
		}
		level = timeline.LevelPolicy
		c := f.configOf("eu-1")
		old, err := replication.NewMultiRegionReplicator(c, f.nodes["eu-1"].storage(f.files))
		if err != nil {
			t.Fatal(err)
		}
		old.SetTransport(f.port(c))
		if err = old.Start(f.t.Context()); !errors.Is(err, timeline.ErrVersion) {
			t.Errorf("an older node starts: %v", err)
		}
		if err := old.Shutdown(); err != nil {
			t.Error(err)
		}
	})
}
