package etcdapi

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// response is that to any write.
type response interface{ GetHeader() *pb.ResponseHeader }

// asker is who asks for a write, and what he needs for that.
type asker struct {
	auth.Identity
	may   right
	own   bool // it is done in nobody's name, and nobody's right is asked for
	tells bool // the command says on what he stands

	touches []span // what it may write, where that is known
	local   bool   // it waits for no other region, whoever says so
	repeats bool   // clientv3 sends it again where the answer is Unavailable
	outcome string // of one that asks for other regions and fails, if that is known
}

// touching returns who asks for a write of these keys.
func (w asker) touching(keys ...span) asker {
	w.touches = keys
	return w
}

// alone returns who asks for a write that waits for no other region.
func (w asker) alone() asker {
	w.local = true
	return w
}

// asks returns who asks for a write, if he may. Where the region shows its history late it cannot know what he was
// given meanwhile: it refuses nobody of whom it knows who he is, and what he asks for is judged where it is applied.
func (g *guard) asks(ctx context.Context, may right) (asker, error) {
	id, err, unsure := g.confirmed(ctx, g.clock.Now(), may)
	who := asker{Identity: id, may: may, tells: g.tellsBasis(id)}
	if err != nil && id.User != "" && isLate(unsure) && (who.tells || !id.Based()) {
		return who, nil
	}
	return who, err
}

// encode returns a command with whose it is.
func (w *asker) encode(c []byte) []byte {
	switch {
	case w.own:
		return command.EncodeOwn(c)
	case !w.tells:
		return command.EncodeAs(w.Plain(), c)
	}
	return command.EncodeAs(w.Identity, c)
}

// mostJudgements is how often a write is judged anew because users or roles were changed while it was on its way.
const mostJudgements = 4

// write proposes one command of a client and returns its response, or the status that says why there is none. Who asks,
// and on what he stands, is beside the command, and is looked at again where it is applied. If that refuses it because
// it knows of later changes of users or roles than this node did, it was certainly not applied, and is judged anew.
func write[R response](
	ctx context.Context, a *API, who asker, c []byte, decode func([]byte) (R, error),
) (none R, err error) {
	if len(c) > a.limits.now().RequestBytes {
		return none, rpctypes.ErrGRPCRequestTooLarge
	}
	needs, err := demanded(ctx, a, &who)
	if err != nil {
		return none, err
	}
	end, err := needs.begin(a, &who, len(c))
	if err != nil {
		return none, err
	}
	defer func() { end(err) }()
	for n := 1; ; n++ {
		response, err := propose(ctx, a, &who, needs, who.encode(c), decode)
		if err == nil {
			return response, nil
		}
		if n == mostJudgements || who.may == nil || !isOutdated(err, who.Identity) {
			return none, a.statusOf(ctx, err)
		}
		if behind := a.barrier(ctx); behind != nil {
			return none, a.statusOf(ctx, unlessLate(behind, err))
		}
		again, err := a.asks(ctx, who.may)
		if err != nil {
			return none, err
		}
		who.Identity, who.tells = again.Identity, who.tells || again.tells
	}
}

// propose is write without the bound of what clients may ask, once. What is in fewer regions than needs says is told
// to be that, by an error.
func propose[R response](
	ctx context.Context, a *API, who *asker, needs demand, c []byte, decode func([]byte) (R, error),
) (none R, err error) {
	bounded, cancel := needs.whileHeard(ctx, a)
	defer cancel()
	receipt, short := needs.propose(bounded, a, c)
	if short != nil && !errors.Is(short, replication.ErrUnderReplicated) {
		return none, needs.told(short, who, nil)
	}
	if receipt == nil || len(receipt.Results) == 0 {
		return none, fmt.Errorf("%w: it was written, and there is no result of it", replication.ErrUnknownOutcome)
	}
	response, err := decode(receipt.Results[0])
	if err != nil {
		return none, err
	}
	a.fill(response.GetHeader())
	if short != nil {
		return none, needs.told(short, who, response.GetHeader())
	}
	return response, nil
}
