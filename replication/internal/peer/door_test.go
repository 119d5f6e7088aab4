package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// doorOfUs is that of a node of us, in a fleet with eu, from which us-9 was removed.
func doorOfUs(refused func(transport.Caller, string, error)) *Door {
	return NewDoor(DoorConfig{
		Region: "us", Refused: refused,
		Bars: func(region string) error {
			if region != "eu" {
				return fmt.Errorf("%w: %s", contract.ErrUnknownRegion, region)
			}
			return nil
		},
		Removed: func(node string) bool { return node == "us-9" },
	})
}

// TestWhoHasWhichRight: who is known has what he is entitled to, and why not is said to him, and here.
func TestWhoHasWhichRight(t *testing.T) {
	all := []Right{nobody, Anyone, FleetNode, RegionNode, NamedRegion, NamedRegion + 1}
	for _, test := range []struct {
		region, node, has, why string
	}{
		{"us", "us-1", "anyone, fleet node, region node, named region", "that is for nobody"},
		{"eu", "us-1", "anyone, fleet node", "that is for nodes of region us"},
		{"eu", "us-9", "anyone, fleet node", "that is for nodes of region us"},
		{"us", "us-9", "anyone, named region", "it was removed from region us"},
		{"ap", "ap-1", "anyone", "unknown region: ap"},
		{"", "us-1", "anyone", "unknown region: "},
		{"us", "", "anyone, fleet node, region node, named region", ""},
		{"witness", "w1", "anyone", "a witness is asked, and asks nothing itself"},
		{"", "", "anyone, fleet node, region node, named region, nobody", ""}, // a transport that does not tell
	} {
		var told []string
		door := doorOfUs(func(c transport.Caller, what string, why error) {
			told = append(told, c.Region+"/"+c.Node+": "+what+": "+why.Error())
		})
		ctx := transport.WithCaller(t.Context(), transport.Caller{Region: test.region, Node: test.node})
		var has, whys []string
		for _, right := range all {
			err, kind := door.asks(ctx, right, "q"), contract.ErrRejected
			if right == FleetNode && test.region != "us" && test.region != witnesses { // another node may know it
				kind = contract.ErrNotReady
			}
			switch {
			case err == nil:
				has = append(has, right.String())
			case !errors.Is(err, kind) || !strings.Contains(err.Error(), test.node+" of region "):
				t.Errorf("%s/%s: %v", test.region, test.node, err)
			default:
				whys = append(whys, err.Error())
			}
		}
		if got := strings.Join(has, ", "); got != test.has || !strings.Contains(strings.Join(whys, "\n"), test.why) ||
			len(told) < len(whys) && test.region+test.node != "" {
			t.Errorf("%s/%s has %s, want %s; refused %q, want %q among it; told %q", test.region, test.node, got,
				test.has, whys, test.why, told)
		}
	}
	if err := (*Door)(nil).asks(transport.WithCaller(t.Context(), transport.Caller{Region: "us", Node: "us-1"}),
		FleetNode, "q"); err == nil {
		t.Error("without a door somebody is let in")
	}
}

// TestAWitnessAsksNoWitness, and every region asks it.
func TestAWitnessAsksNoWitness(t *testing.T) {
	door := NewDoor(DoorConfig{Bars: BarsWitness})
	for region, want := range map[string]bool{"us": true, "eu": true, "witness": false, "": false} {
		ctx := transport.WithCaller(t.Context(), transport.Caller{Region: region, Node: "x"})
		if err := door.asks(ctx, FleetNode, "q"); (err == nil) != want {
			t.Errorf("%s: %v", region, err)
		}
	}
}

// TestAStreamEndsWithTheRight of who opened it: what he sends afterwards is not handed over, and he is sent nothing.
func TestAStreamEndsWithTheRight(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		n := memory.NewNetwork(clock.Real, 1)
		a, b := n.Node("a"), n.Node("b")
		entitled, received := true, 0
		door := NewDoor(DoorConfig{Region: "us", Bars: func(string) error {
			if !entitled {
				return errors.New("it was")
			}
			return nil
		}})
		echoes := func(_ context.Context, s transport.Stream) error {
			for {
				p, err := s.Recv()
				if err != nil {
					return err
				}
				received++
				if string(p) == "late" {
					entitled = false
				}
				if err := s.Send(p); err != nil {
					return err
				}
			}
		}
		guarded := door.Guard("echo/1", FleetNode, echoes)
		err := b.Serve(map[string]transport.Handler{"echo/1": func(ctx context.Context, s transport.Stream) error {
			return guarded(transport.WithCaller(ctx, transport.Caller{Region: "eu", Node: "eu-1"}), s)
		}})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(text string, lose bool) error {
			s, err := a.Open(t.Context(), "b", "echo/1")
			if err != nil {
				return err
			}
			if err := s.Send([]byte("first")); err != nil {
				return err
			}
			if _, err := s.Recv(); err != nil {
				return err
			}
			entitled = entitled && !lose
			if err := s.Send([]byte(text)); err != nil {
				return err
			}
			_, err = s.Recv()
			return err
		}
		check := func(when, text string, lose bool, want error, heard int) {
			t.Helper()
			received = 0
			if err := ask(text, lose); !errors.Is(err, want) || received != heard {
				t.Errorf("%s: %v, want %v; handed over %d, want %d", when, err, want, received, heard)
			}
		}
		check("entitled", "x", false, nil, 2)
		check("no more when it sends", "x", true, transport.ErrRemote, 1) // and what came before was taken
		check("not when it opens", "x", false, transport.ErrStranger, 0)
		entitled = true
		check("no more when it is answered", "late", false, transport.ErrRemote, 2)
		a.Close()
		b.Close()
	})
}
