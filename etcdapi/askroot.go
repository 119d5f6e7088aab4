package etcdapi

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// encodeRoot asks whether somebody is root. fresh is as in RootShown. He travels as with a command, of one that does
// nothing.
func encodeRoot(id auth.Identity, fresh bool) []byte {
	question := []byte{askVersion, askRoot, 0}
	if fresh {
		question[2] = 1
	}
	return append(question, command.EncodeAs(id, idle)...)
}

func decodeRoot(body []byte) (id auth.Identity, fresh bool, err error) {
	if len(body) < 2 || body[0] > 1 {
		return id, false, fmt.Errorf("%w: who is root, of %d bytes", ErrAsk, len(body))
	}
	_, id, own, err := command.Unwrap(body[1:])
	if err != nil || own {
		return auth.Identity{}, false, fmt.Errorf("%w: who asks to be root", ErrAsk)
	}
	return id, body[0] == 1, nil
}

// answerRoot says, as the result of a command does, whether somebody is root by all that was acknowledged. It writes
// nothing: what keeps others from writing keeps nobody from being root, and no node has to understand what it says.
func answerRoot(ctx context.Context, a *API, body []byte) ([]byte, error) {
	id, fresh, err := decodeRoot(body)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, a.patience())
	defer cancel()
	if err := a.replicator.ReadBarrier(bounded, replication.Linearizable); err != nil { // it is asked again
		return nil, fmt.Errorf("%w: who is root: %v", replication.ErrNotReady, err)
	}
	s, answer := a.store.Auth(), command.NewResults(1)
	refused := s.Admin(id)
	if !s.Enabled() { // nobody is root: whatever the region that asks shows, there is none to be
		refused = command.ErrAuthNotEnabled
	}
	if refused == nil && fresh && !id.Present && id.Revision < s.Revision() {
		refused = command.ErrAuthOldRevision
	}
	if refused != nil {
		answer.Refused(refused)
	} else {
		answer.Done(new(pb.AlarmResponse))
	}
	return answer.All()[0], nil
}

// primarySays asks the primary whether somebody is root. unheard says why it did not say it.
func (g *guard) primarySays(ctx context.Context, id auth.Identity, fresh bool) (refused, unheard error) {
	answer, err := g.replicator.Ask(ctx, encodeRoot(id, fresh))
	if errors.Is(err, replication.ErrRejected) {
		return nil, errNotAnswered
	}
	if err != nil {
		return nil, g.statusOf(ctx, err)
	}
	refused = command.Refusal(answer)
	if errors.Is(refused, command.ErrMalformed) { // it says no, for a reason that only a later version knows
		return errNotUnderstood, nil
	}
	return refused, nil
}
