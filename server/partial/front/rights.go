package front

import (
	"context"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/mimir-kv/mimir/etcdapi"
)

// mostJudgements is how often an answer from here is judged anew because users or roles were changed meanwhile.
const mostJudgements = 4

// errChanged is what etcd says where users or roles were changed while a request was under way.
var errChanged = rpctypes.ErrGRPCAuthOldRevision

// judged returns what here answers, which has the fleet judge who asks by no older users and roles than those that it
// is given. If this node has heard of others meanwhile, what came with them may be what was taken from who asks: the
// answer is not told, and there is another one.
func (f *Front) judged(here func(by etcdapi.Rights) (any, error)) (any, error) {
	for range mostJudgements {
		by := f.sink.Place.Rights()
		answer, err := here(by)
		if err != nil || !others(by, f.sink.Place.Rights()) {
			return answer, err
		}
	}
	return nil, errChanged
}

// others reports whether users and roles that are known now may judge otherwise than those by which was judged. Where
// there are none, and were none, nobody is judged, and that more was heard of the same ones is no change of them.
func others(by, now etcdapi.Rights) bool {
	if !by.Enabled && !now.Enabled {
		return false
	}
	return by.Enabled != now.Enabled || by.Revision != now.Revision || by.OlderThan(now)
}

// may says whether who asks may make a call that is answered from here. Where there are users the fleet knows.
func (f *Front) may(ctx context.Context, by etcdapi.Rights, method string, r, answer any) error {
	if !by.Enabled {
		return nil
	}
	return f.links.Judge(asCaller(ctx), by, method, r, answer)
}
