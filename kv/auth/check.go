package auth

import (
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

// Attached calls visit with each key that is attached to a lease, in order, and returns its error.
type Attached func(lease int64, visit func(key []byte) error) error

// Check says whether id may do a request: nil, or an error of etcd's. attached is asked about the leases that requests
// to write name, about each once; nil if there are none, or if that is checked later. Besides etcd's rules, every
// request needs somebody who asks, and what he stands on must be as it was.
func (s *State) Check(id Identity, r proto.Message, attached Attached) error {
	if !s.enabled {
		return nil
	}
	if err := s.Stands(id); err != nil {
		return err
	}
	c := checker{s: s, id: id, attached: attached}
	switch r := r.(type) {
	case *pb.RangeRequest:
		return c.keys(r.Key, r.RangeEnd, authpb.Permission_READ)
	case *pb.PutRequest:
		return c.put(r)
	case *pb.DeleteRangeRequest:
		return c.deleteRange(r)
	case *pb.TxnRequest:
		c.permitted = map[int64]struct{}{}
		return c.txn(r)
	case *pb.LeaseRevokeRequest:
		if err := c.somebody(); err != nil {
			return err
		}
		return c.lease(r.ID)
	case *pb.LeaseGrantRequest:
		return c.somebody()
	}
	return s.Admin(id)
}

// Admin says whether id may do whatever only root may: nil, ErrUserEmpty, ErrUserNotFound, ErrPermissionDenied, or what
// Stands says. As in etcd no revision is too old for that.
func (s *State) Admin(id Identity) error {
	if !s.enabled {
		return nil
	}
	if id.User == "" {
		return command.ErrUserEmpty
	}
	if err := s.Stands(id); err != nil {
		return err
	}
	u := s.users[id.User]
	switch {
	case u == nil:
		return command.ErrUserNotFound
	case !u.hasRole(Root):
		return command.ErrPermissionDenied
	}
	return nil
}

// ReadRange says whether id may read a range of keys, named as requests name it.
func (s *State) ReadRange(id Identity, key, end []byte) error {
	if !s.enabled {
		return nil
	}
	if err := s.Stands(id); err != nil {
		return err
	}
	return checker{s: s, id: id}.keys(key, end, authpb.Permission_READ)
}

// WriteKey says whether id may write a key.
func (s *State) WriteKey(id Identity, key []byte) error {
	if !s.enabled {
		return nil
	}
	if err := s.Stands(id); err != nil {
		return err
	}
	return checker{s: s, id: id}.keys(key, nil, authpb.Permission_WRITE)
}

// checker checks for one identity that stands.
type checker struct {
	s        *State
	id       Identity
	attached Attached
	// permitted has the leases of which every key may be written, of a request that may name one again: nothing changes
	// what is attached while it is checked.
	permitted map[int64]struct{}
}

func (c checker) somebody() error {
	if c.id.User == "" || c.id.Revision == 0 {
		return command.ErrUserEmpty
	}
	return nil
}

// old reports whether the identity is of a revision that is not the newest any more.
func (c checker) old() bool { return !c.id.Present && c.id.Revision < c.s.revision }

// keys checks a range, whatever it is for.
func (c checker) keys(key, end []byte, kind authpb.Permission_Type) error {
	if c.id.Revision == 0 {
		return command.ErrUserEmpty
	}
	if c.old() {
		return command.ErrAuthOldRevision
	}
	u := c.s.users[c.id.User]
	if u == nil || !u.hasRole(Root) && !c.s.permitsOf(u).of(kind).covers(key, end) {
		return command.ErrPermissionDenied
	}
	return nil
}

func (c checker) put(r *pb.PutRequest) error {
	if err := c.keys(r.Key, nil, authpb.Permission_WRITE); err != nil {
		return err
	}
	if err := c.lease(r.Lease); err != nil {
		return err
	}
	if r.PrevKv {
		return c.keys(r.Key, nil, authpb.Permission_READ)
	}
	return nil
}

// lease checks that every key of a lease may be written: they go with it.
func (c checker) lease(id int64) error {
	if id == 0 || c.attached == nil || c.s.Admin(c.id) == nil {
		return nil
	}
	if u := c.s.users[c.id.User]; u != nil && !c.old() && c.s.permitsOf(u).write.everything() {
		return nil
	}
	if _, known := c.permitted[id]; known {
		return nil
	}
	err := c.attached(id, func(key []byte) error { return c.keys(key, nil, authpb.Permission_WRITE) })
	if err == nil && c.permitted != nil {
		c.permitted[id] = struct{}{}
	}
	return err
}

func (c checker) deleteRange(r *pb.DeleteRangeRequest) error {
	if err := c.keys(r.Key, r.RangeEnd, authpb.Permission_WRITE); err != nil {
		return err
	}
	if r.PrevKv {
		return c.keys(r.Key, r.RangeEnd, authpb.Permission_READ)
	}
	return nil
}

// txn checks the comparisons, and both branches: which one is taken tells something too.
func (c checker) txn(r *pb.TxnRequest) error {
	if c.id.Revision == 0 { // also of one that does nothing
		return command.ErrUserEmpty
	}
	for _, one := range r.Compare {
		if err := c.keys(one.Key, one.RangeEnd, authpb.Permission_READ); err != nil {
			return err
		}
	}
	for _, branch := range [][]*pb.RequestOp{r.Success, r.Failure} {
		for _, op := range branch {
			if err := c.op(op); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c checker) op(op *pb.RequestOp) error {
	switch {
	case op.GetRequestRange() != nil:
		r := op.GetRequestRange()
		return c.keys(r.Key, r.RangeEnd, authpb.Permission_READ)
	case op.GetRequestPut() != nil:
		return c.put(op.GetRequestPut())
	case op.GetRequestDeleteRange() != nil:
		return c.deleteRange(op.GetRequestDeleteRange())
	case op.GetRequestTxn() != nil:
		return c.txn(op.GetRequestTxn())
	}
	return nil
}
