package region

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/enginetest"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// forgotten is the log of a region eu that lost its disks and streams what it had from us: its own epoch 2, in which
// nothing was written, comes behind the yield to epoch 3.
func forgotten(t *testing.T, delayed bool) *story {
	us := newAuthor(t, "us")
	s := &story{author: us}
	s.add(us.begin(1, "us"))
	control := func(c *timeline.Control) {
		p, err := timeline.EncodeControl(c)
		if err != nil {
			t.Fatal(err)
		}
		s.add(p)
	}
	if delayed {
		control(&timeline.Control{Op: timeline.OpDelay})
	}
	s.add(us.frame("a", "b"))
	own, next := us.begin(2, "eu"), us.begin(3, "us")
	claim := timeline.Latest(us.machine.State().Reigns)
	control(&timeline.Control{Op: timeline.OpYield, Claim: &claim})
	for _, p := range [][]byte{own, next, us.frame("c")} {
		s.add(p)
	}
	return s
}

// A reign behind one that the rules refused stops no node, whenever it was started and whatever its storage shows, and
// all nodes come to one state.
func TestWhatFollowsARefusedReignStopsNoNode(t *testing.T) {
	for what, delayed := range map[string]bool{"shown at once": false, "delayed": true} {
		s := forgotten(t, delayed)
		var first *timeline.State
		for stop := range len(s.log) {
			e := enginetest.Volatile()
			p := s.place(e, e)
			if err := p.Apply(s.log[:stop+1]); err != nil {
				t.Fatalf("%s, %d entries: %v", what, stop+1, err)
			}
			p = s.place(e, e)
			if err := s.tell(p, p.index, 1); err != nil {
				t.Fatalf("%s, started again after %d: %v", what, stop+1, err)
			}
			state := p.seen.State()
			if first == nil {
				first = state
			}
			if !reflect.DeepEqual(*state, *first) || state.Cursor.Epoch != 1 || state.Cursor.Position != 2 {
				t.Errorf("%s: %+v\n%+v", what, *state, *first)
			}
			if !delayed && !slices.Equal(p.commands(), []string{"a", "b"}) {
				t.Errorf("%s: commands %q", what, p.commands())
			}
		}
	}
}

// A chain that breaks without that stops the node.
func TestAReignAfterAnotherChainStopsTheNode(t *testing.T) {
	s := forgotten(t, false)
	s.log = slices.Delete(s.log, 3, 4) // without its own reign
	for i := range s.log {
		*s.log[i].Index = uint64(i + 1)
	}
	e := enginetest.Volatile()
	if err := s.tell(s.place(e, e), 0, 1); !errors.Is(err, timeline.ErrChain) {
		t.Errorf("%v", err)
	}
}
