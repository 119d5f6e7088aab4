package admin

import (
	"context"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// withState is a replicator with a tail that is a whole state, and what is known of where it parted.
type withState struct {
	fake
	fork        replication.Position // that its file names
	lost, today []replication.Reign
}

func (f *withState) Tails(context.Context) ([]replication.TailInfo, error) {
	t := replication.TailInfo{Name: "t", State: &replication.TailState{Position: 20}}
	t.Fork, t.Last, t.After = f.fork, 20, 15
	return []replication.TailInfo{t}, nil
}

func (f *withState) TailReigns(context.Context, string) (lost, today []replication.Reign, err error) {
	return f.lost, f.today, nil
}

// compared are states of which it is known whether they hold the same.
type compared struct {
	fakeState
	same bool
	err  error
}

func (c compared) Same(context.Context, string, int64) (bool, error) { return c.same, c.err }

// TestAForkOfAState: where no log reached back to the fork, the histories parted where their reigns did, if what both
// held there was the same.
func TestAForkOfAState(t *testing.T) {
	first := replication.Reign{Epoch: 1, First: 1}
	lossy := replication.Reign{Epoch: 4, First: 11, Lossy: true}
	for _, c := range []struct {
		what        string
		fork        replication.Position
		lost, today []replication.Reign
		states      compared
		position    replication.Position
		revision    Revision
		unknown     string
	}{
		{what: "the same", lost: []replication.Reign{first}, today: []replication.Reign{first, lossy},
			states: compared{same: true}, position: 10, revision: 4},
		{what: "a fork that the logs told", fork: 10, lost: []replication.Reign{first},
			today: []replication.Reign{first, lossy}, states: compared{err: command.ErrCompacted}, position: 10,
			revision: 4},
		{what: "another content", lost: []replication.Reign{first}, today: []replication.Reign{first, lossy},
			position: 10, unknown: "is not the same"},
		{what: "compacted", lost: []replication.Reign{first}, today: []replication.Reign{first, lossy},
			states: compared{err: command.ErrCompacted}, position: 10, unknown: "compacted"},
		{what: "no mark", lost: []replication.Reign{first}, today: []replication.Reign{first, {Epoch: 4, First: 11}},
			states: compared{same: true}, position: 10, unknown: "no mark"},
		{what: "in the middle of a reign", lost: []replication.Reign{first, {Epoch: 2, First: 9}},
			today: []replication.Reign{first, lossy}, states: compared{same: true}, unknown: "do not tell"},
		{what: "nothing of today", lost: []replication.Reign{first}, today: []replication.Reign{first},
			states: compared{same: true}, unknown: "do not tell"},
	} {
		f := &withState{fork: c.fork, lost: c.lost, today: c.today}
		h := &handler{HandlerOptions: HandlerOptions{Replicator: f, States: c.states}}
		all, _ := h.Replicator.Tails(t.Context())
		fork, err := h.forkOfState(t.Context(), &all[0], c.lost, c.today)
		if err != nil || fork.Position != c.position || fork.Revision != c.revision ||
			(fork.Base == 0) != (c.unknown != "") || (fork.Unknown == "") != (c.unknown == "") ||
			!strings.Contains(fork.Unknown, c.unknown) {
			t.Errorf("%s: %+v, %v", c.what, fork, err)
		}
	}
}
