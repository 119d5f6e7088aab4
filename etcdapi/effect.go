package etcdapi

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi/share"
)

const effectAdvice = "mimir: the request would change or answer more at once than a node can; do it in pieces, each " +
	"with a narrower range; of a lease, delete keys first"

// smallEffect is what a request may do without being counted.
const smallEffect = 64 << 10

// effects bounds what the writes under way do together, since many of them may come into one entry. They are those of
// this node's clients, of whom those of one address wait for each other before others wait for them. A request that
// does more than all of one address may counts as that.
type effects struct {
	room *share.Room
	most int64
}

func newEffects(most int64) *effects { return &effects{share.New(most), most} }

// admit refuses a request that would take more than the limit on every node, and waits while those under way leave no
// room for it. done is to be called when it is over. A request for spans of keys is estimated by what the primary has:
// a node that is far behind may have nothing of what would be deleted. The count of others may be a little out of date.
// What slips through is little, also where a region shows its history late and has nothing newer to go by, and what no
// node can do is refused where it is applied.
func (a *API) admit(
	ctx context.Context, spans bool, estimate func(ctx context.Context, limit int64) (int64, error),
) (done func(), err error) {
	if spans {
		if err := barrierUnlessLate(ctx, a); err != nil {
			return nil, err
		}
	}
	e := a.effects.Load()
	bytes, err := estimate(ctx, e.most)
	switch {
	case err != nil:
		return nil, a.statusOf(ctx, err)
	case bytes > e.most:
		return nil, status.Errorf(codes.InvalidArgument, "%s (max-effect-bytes is %d)", effectAdvice, e.most)
	case bytes < smallEffect:
		return func() {}, nil
	}
	from := a.senderOf(ctx)
	if err := a.answers.begins(from); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, a.limits.now().RequestTimeout)
	defer cancel()
	done, err = e.room.Acquire(bounded, from.connection, min(bytes, e.room.Alone()))
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil, status.Errorf(codes.ResourceExhausted, "mimir: the writes under way change or answer as much "+
				"as max-effect-bytes allows, which is %d: try again later", e.most)
		}
		return nil, a.statusOf(ctx, err)
	}
	return done, nil
}
