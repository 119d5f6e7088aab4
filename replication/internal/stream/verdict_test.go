package stream

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
)

func TestFork(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a", "b")
		p.serve()
		p.follow()
		p.converge()
		p.stop()
		// eu writes a tail that us never sees; us begins the next epoch.
		p.eu.write("lost")
		p.us.begin(2)
		p.us.write("c", "d", "e")
		var fork *ForkError
		if err := p.outcome(); !errors.As(err, &fork) {
			t.Fatalf("Run returned %v, want a ForkError", err)
		}
		if fork.Fork != 2 || fork.Held.Position != 3 || fork.SourceCursor != p.us.Cursor() || len(fork.Source) != 2 ||
			fork.Address != usAddress {
			t.Errorf("fork is %+v", fork)
		}
		if got := p.eu.texts(); len(got) != 3 {
			t.Errorf("eu holds %v", got)
		}
	})
}

func TestForkWithoutCommands(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a")
		p.serve()
		p.follow()
		p.converge()
		p.stop()
		p.us.begin(3)
		p.eu.begin(2)
		var fork *ForkError
		if err := p.outcome(); !errors.As(err, &fork) || fork.Fork != 1 {
			t.Fatalf("Run returned %v, want a fork at 1", err)
		}
	})
}

// A source of a lower claim is the one that has to yield: it is no reason to cut anything here.
func TestDeposedSourceIsNoFork(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a")
		p.serve()
		p.follow()
		p.converge()
		p.eu.begin(2)
		p.stop()
		p.us.write("tail")
		if err := p.outcome(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Run returned %v", err)
		}
	})
}

func TestBehindTriesTheNextAddress(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a", "b")
		p.serve()
		p.follow()
		p.converge()
		p.stop()

		late := newRegion(t, "us") // a node of the source region that has not applied everything
		defer late.log.Close()
		late.mu.Lock()
		late.propose(reignAt(timeline.Cursor{}, 1, "us"))
		late.mu.Unlock()
		node := p.network.Node("us-2")
		defer node.Close()
		source := NewSource(SourceConfig{
			Region: "us", Log: late.log, History: late, Logger: quiet, WindowBytes: testWindow,
		})
		if err := node.Serve(map[string]transport.Handler{Service: source.Handle}); err != nil {
			t.Fatal(err)
		}

		var met []error
		p.follow(func(c *SinkConfig) {
			c.Addresses = func() []string { return []string{"us-2", "us-3", usAddress} }
			c.Logger = lossesTo(&met)
		})
		p.us.write("c")
		p.converge()
		if len(met) != 2 || !errors.Is(met[0], ErrBehind) || !errors.Is(met[1], transport.ErrUnreachable) {
			t.Errorf("met %v", met)
		}
	})
}

// A subscriber that is too old for the history is told so, until it is not.
func TestASubscriberThatIsTooOld(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a", "b")
		old := errors.New("eu-1 is too old: upgrade it")
		var asked []string
		tooOld := func(region string) error {
			if asked = append(asked, region); len(asked) == 1 {
				return old
			}
			return nil
		}
		var met []error
		p.serve(func(c *SourceConfig) { c.Bars = tooOld })
		p.follow(func(c *SinkConfig) { c.Logger = lossesTo(&met) })
		p.converge()
		p.stop()
		if len(met) != 1 || !errors.Is(met[0], ErrRefused) || !strings.Contains(met[0].Error(), old.Error()) ||
			asked[0] != "eu" {
			t.Errorf("met %v, asked about %q", met, asked)
		}
	})
}

func TestBootstrapWhereTheLogIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		for range 40 {
			p.us.write(strings.Repeat("x", 8<<10))
		}
		if err := p.us.log.Compact(p.us.index - 2); err != nil {
			t.Fatal(err)
		}
		p.serve()
		var boot *BootstrapError
		if err := p.outcome(); !errors.As(err, &boot) {
			t.Fatalf("Run returned %v, want a BootstrapError", err)
		}
		if first, _ := p.us.log.FirstPosition(); boot.Oldest != first || boot.Held != (timeline.Cursor{}) {
			t.Errorf("%+v, the log begins at %d", boot, first)
		}
	})
}

// A region that installed a checkpoint has a log that begins after it.
func TestAfterInstall(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("a", "b", "c")
		v := p.us.View()
		p.eu.control(&timeline.Control{
			Op: timeline.OpInstall, Checkpoint: "x", Origin: &timeline.Origin{Cursor: v.Cursor, Reigns: v.Reigns},
		})
		p.eu.commands = p.us.commands
		p.serve()
		p.follow()
		p.us.write("d")
		p.converge()
		p.stop()

		// Now eu is the source: it cannot serve from 0, it can from 3, and for one that has everything it needs no log.
		asia := newRegion(t, "asia")
		defer p.us.log.Close()
		p.us, p.eu = p.eu, asia
		p.network.Crash(usAddress)
		p.serve()
		var boot *BootstrapError
		if err := p.outcome(); !errors.As(err, &boot) || boot.Oldest != 3 {
			t.Fatalf("Run returned %v, want a bootstrap from 3 on", err)
		}
		asia.control(&timeline.Control{
			Op: timeline.OpInstall, Checkpoint: "x", Origin: &timeline.Origin{Cursor: v.Cursor, Reigns: v.Reigns},
		})
		asia.commands = p.us.commands[:3:3]
		p.follow()
		p.converge()
	})
}

// A reign that came with a checkpoint is not in the log. Who is at its beginning, without it, needs the checkpoint too,
// whatever came after it.
func TestAReignThatCameWithACheckpoint(t *testing.T) {
	for _, after := range []string{"nothing", "a reign", "a command", "a reign and a command"} {
		t.Run(after, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pair) {
				p.us.write("a", "b", "c")
				p.serve()
				p.follow()
				p.converge()
				p.stop()
				p.us.begin(3)
				v, asia := p.us.View(), newRegion(t, "asia")
				origin := &timeline.Origin{Cursor: v.Cursor, Reigns: v.Reigns}
				asia.control(&timeline.Control{Op: timeline.OpInstall, Checkpoint: "x", Origin: origin})
				if strings.Contains(after, "reign") {
					asia.begin(4)
				}
				if strings.Contains(after, "command") {
					asia.write("d")
				}
				defer p.us.log.Close()
				p.us = asia
				p.network.Crash(usAddress)
				p.serve()
				var boot *BootstrapError
				if err := p.outcome(); !errors.As(err, &boot) || boot.Held.Position != 3 {
					t.Fatalf("Run returned %v, want a BootstrapError", err)
				}
			})
		})
	}
}

func TestRefusesWhileNotServing(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.serve()
		p.us.mu.Lock()
		p.us.serving = errors.New("diverged at 7")
		p.us.mu.Unlock()
		p.follow()
		wait(t, "the refusal is heard", func() bool {
			err := p.sink.Status().Err
			return errors.Is(err, ErrRefused) && strings.Contains(err.Error(), "diverged at 7")
		})
		p.us.mu.Lock()
		p.us.serving = nil
		p.us.mu.Unlock()
		p.us.write("a")
		p.converge()
	})
}

// Equal reigns with unequal commands mean damage on one side: nobody may decide by itself which.
func TestChainMismatchIsLoud(t *testing.T) {
	for _, at := range []string{"end", "middle"} {
		t.Run(at, func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pair) {
				p.us.write("a", "b")
				p.serve()
				p.follow()
				wait(t, "the reign is there", func() bool { return p.eu.Cursor().Epoch == 1 })
				p.converge()
				p.stop()
				p.eu.write("x")
				p.us.write("y")
				if at == "middle" {
					p.us.write("z")
				}
				p.follow()
				wait(t, "the mismatch is told", func() bool {
					err := p.sink.Status().Err
					return errors.Is(err, ErrChain) && strings.Contains(err.Error(), p.eu.Cursor().Chain.String())
				})
				if got := p.eu.texts(); len(got) != 3 || got[2] != "x" {
					t.Errorf("eu holds %v", got)
				}
			})
		})
	}
}

// A region that was wiped and began its first epoch once more claims no more than what is held here: nothing here gives
// way to it.
func TestASecondFirstEpochIsNoFork(t *testing.T) {
	bubble(t, func(t *testing.T, p *pair) {
		p.us.write("new")
		p.eu.mu.Lock()
		p.eu.propose(
			timeline.AppendReign(nil, timeline.Reign{Epoch: 1, First: 1, Primary: "us", Nonce: timeline.Nonce{9}}))
		p.eu.mu.Unlock()
		p.eu.write("old", "older")
		p.serve()
		if err := p.outcome(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Run returned %v", err)
		}
		if got := p.eu.texts(); len(got) != 2 {
			t.Errorf("eu holds %v", got)
		}
	})
}

// TestTheWordOfAnAnswerStands: of several nodes the one that answered says why the stream stands, whichever was tried
// last.
func TestTheWordOfAnAnswerStands(t *testing.T) {
	k := NewSink(SinkConfig{Logger: quiet})
	for _, address := range []string{"us-1", "us-2"} {
		k.lost(address, transport.ErrUnreachable)
	}
	if s := k.Status(); s.Address != "us-2" || !errors.Is(s.Err, transport.ErrUnreachable) {
		t.Errorf("nobody answered: %+v", s)
	}
	k.lost("us-2", ErrChain)
	k.lost("us-3", transport.ErrUnreachable)
	if s := k.Status(); s.Address != "us-2" || !errors.Is(s.Err, ErrChain) {
		t.Errorf("us-2 answered: %+v", s)
	}
}
