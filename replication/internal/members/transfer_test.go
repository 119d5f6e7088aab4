package members

import (
	"context"
	"errors"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/raftgroup"
)

// How an order to hand leadership over ends is always of a kind.
func TestATransferEndsWithAKind(t *testing.T) {
	for _, c := range []struct {
		err, want error
	}{
		{nil, nil}, {raftgroup.ErrNotLeader, contract.ErrNotLeader}, {raftgroup.ErrTransfer, contract.ErrMember},
		{raftgroup.ErrStopped, contract.ErrStopped}, {context.Canceled, contract.ErrUnknownOutcome},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		g := &group{hands: func(uint64) error {
			cancel()
			return c.err
		}}
		err := testRegistrar(g, nil).Transfer(ctx, 2)
		if peer.Kind(err) != c.want || (err == nil) != (c.err == nil) || !errors.Is(err, c.err) {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}
