package kv

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Auth returns who may do what, as far as is applied here.
func (s *Store) Auth() *auth.State { return s.now().auth }

// loadAuth reads who may do what.
func loadAuth(g *generation) (*auth.State, error) {
	l := auth.NewLoad()
	if err := mvcc.EachAuth(g.db, l.Add); err != nil {
		return nil, err
	}
	return l.State(), nil
}

// permit says whether a command may be done: nil, an error that is its result, or one of the engine. What was right
// where it was proposed may be so no longer, or never was: a region may be behind, and know of another password. By
// what is true here, and by nothing else, it is judged who may change what is of the whole fleet.
func (r *run) permit(q *command.Request) error {
	if !r.auth.Enabled() || q.Own {
		return nil
	}
	return r.auth.Check(q.Identity, q.Message(), r.eachAttached)
}

// eachAttached implements auth.Attached.
func (r *run) eachAttached(id int64, visit func(key []byte) error) error {
	if !r.indexed {
		return errNoIndex
	}
	return eachAttached(r.batch, id, visit)
}

// authEnable and authChange change who may do what. None of that is a change of the contents: it has no revision.

func (r *run) authEnable(q *command.AuthEnable) (proto.Message, error) {
	if err := r.auth.Enable(q, r.write); err != nil {
		return nil, refuse(err)
	}
	return &pb.AuthEnableResponse{Header: &pb.ResponseHeader{Revision: r.now()}}, nil
}

func (r *run) authChange(q proto.Message) (proto.Message, error) {
	resp, err := r.auth.Do(q, &pb.ResponseHeader{Revision: r.now()}, r.write)
	if err != nil {
		return nil, refuse(err)
	}
	return resp, nil
}
