package secondary

import (
	"context"
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// taking is a group that notes what is proposed.
type taking struct {
	three
	proposed [][]byte
}

func (g *taking) Propose(_ context.Context, _ uint64, payloads [][]byte) (uint64, error) {
	g.proposed = append(g.proposed, payloads...)
	return uint64(len(g.proposed) - len(payloads) + 1), nil
}

// TestAForgottenReignIsNotProposed, nor anything behind it: the region would be primary again of a reign of which it
// does not know how far it came.
func TestAForgottenReignIsNotProposed(t *testing.T) {
	one := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	own, next := timeline.Reign{Epoch: 2, First: 2, Primary: "eu"}, timeline.Reign{Epoch: 3, First: 2, Primary: "us"}
	commands := []timeline.Command{{Data: []byte("x")}}
	frame := timeline.AppendFrame(nil, &timeline.Frame{Epoch: 1, First: 1, Commands: commands})
	payloads := [][]byte{
		timeline.AppendReign(nil, one), frame, timeline.AppendReign(nil, own), timeline.AppendReign(nil, next),
	}
	for what, c := range map[string]struct {
		has  []timeline.Reign
		give [][]byte
		want int
		err  error
	}{
		"behind others":  {nil, payloads, 2, errForgotten},
		"at first":       {[]timeline.Reign{one}, payloads[2:], 0, errForgotten},
		"it has it":      {[]timeline.Reign{one, own}, payloads, 4, nil},
		"others' reigns": {nil, payloads[3:], 1, nil},
		"no reign":       {nil, payloads[1:2], 1, nil},
	} {
		g := new(taking)
		state := timeline.State{Region: "eu", Reigns: c.has}
		applied := region.NewApplied(&region.View{State: state}, nil)
		tk := &taker{config: &Config{Region: "eu", Group: g, Applied: applied}, term: 1}
		err := tk.Take(t.Context(), c.give)
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || len(g.proposed) != c.want ||
			tk.last.Load() != uint64(c.want) {
			t.Errorf("%s: %v, %d proposed, up to entry %d", what, err, len(g.proposed), tk.last.Load())
		}
	}
}
