package reads

import (
	"context"
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// overtaken is a node of the primary that applies later than other nodes of its region: another region has more than it
// by the time that a read is confirmed.
type overtaken struct {
	*member
	real *standing.Standing
	has  fleet.View // from the confirmation on
}

func (o overtaken) ReadIndex(ctx context.Context) (uint64, error) {
	index, err := o.member.ReadIndex(ctx)
	o.picture = o.has
	return index, err
}

func (o overtaken) Loss(v fleet.View, s *timeline.State, reached timeline.Position) *standing.Loss {
	return o.real.Loss(v, s, reached)
}

// TestReadsAreConfirmedWhereOthersApplyEarlier: what another region has got since a read began is not lost here,
// because this node has not applied it yet. What it had before is: it is committed here, or was.
func TestReadsAreConfirmedWhereOthersApplyEarlier(t *testing.T) {
	pair(t, func(t *testing.T, us, _ *member) {
		us.set(func() { us.settled = true })
		st := us.applied.State()
		more := timeline.Cursor{Epoch: 1, Position: st.Cursor.Position + 10}
		o := overtaken{us, standing.New("us", us.applied, nil, nil, nil, nil), fleet.View{
			Regions: map[string]fleet.Region{"eu": {Record: &fleet.Heard{Report: fleet.Report{
				Region: "eu", Node: "eu-1", Reigns: st.Reigns, Cursor: more}}}},
		}}
		us.config.Standing, us.config.Group, us.config.Fleet = o, o, o
		virtual.Wait()
		if at, err := us.Confirmed(t.Context()); err != nil || at.Position != st.Cursor.Position {
			t.Errorf("it came since: %+v, %v", at, err)
		}
		if at, err := us.Confirmed(t.Context()); !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("it was there before: %+v, %v", at, err)
		}
	})
}
