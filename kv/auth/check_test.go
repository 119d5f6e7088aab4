package auth

import (
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

func who(name string, revision uint64) Identity { return Identity{User: name, Revision: revision} }

func opOf(r proto.Message) *pb.RequestOp {
	switch r := r.(type) {
	case *pb.RangeRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
	case *pb.PutRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: r}}
	case *pb.DeleteRangeRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}
	case *pb.TxnRequest:
		return &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: r}}
	}
	return &pb.RequestOp{}
}

func get(key, end string) *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end)}
}

func put(key string, lease int64, prev bool) *pb.PutRequest {
	return &pb.PutRequest{Key: []byte(key), Lease: lease, PrevKv: prev}
}

func del(key, end string, prev bool) *pb.DeleteRangeRequest {
	return &pb.DeleteRangeRequest{Key: []byte(key), RangeEnd: []byte(end), PrevKv: prev}
}

func compare(key, end string) *pb.Compare {
	return &pb.Compare{Key: []byte(key), RangeEnd: []byte(end)}
}

// permitted is a store in which alice may read [c, m) in two pieces and x, and write [b, e), [k, …) and o.
func permitted(t *testing.T) *store {
	s := rooted(t)
	s.must(
		roleAdd("b"), userGrant("alice", "b"), userAdd("bob"),
		roleGrant("a", read, "c", "f"), roleGrant("b", read, "f", "m"), roleGrant("b", read, "x", ""),
		roleGrant("a", write, "b", "e"), roleGrant("a", write, "k", "\x00"), roleGrant("b", write, "o", ""),
		enable(),
	)
	return s
}

// keys of leases: what the lease 1 has alice may write, of the lease 2 not all.
func attached(lease int64, visit func(key []byte) error) error {
	for _, key := range map[int64][]string{1: {"b", "d"}, 2: {"d", "f"}}[lease] {
		if err := visit([]byte(key)); err != nil {
			return err
		}
	}
	return nil
}

// Who may do what is what etcd says.
func TestChecksFollowEtcd(t *testing.T) {
	s := permitted(t)
	denied := command.ErrPermissionDenied
	txn := func(c *pb.Compare, success, failure proto.Message) *pb.TxnRequest {
		q := &pb.TxnRequest{}
		if c != nil {
			q.Compare = append(q.Compare, c)
		}
		if success != nil {
			q.Success = append(q.Success, opOf(success))
		}
		if failure != nil {
			q.Failure = append(q.Failure, opOf(failure))
		}
		return q
	}
	for _, c := range []struct {
		what    string
		request proto.Message
		err     error
	}{
		{"a key", get("c", ""), nil},
		{"the key before", get("b", ""), denied},
		{"the last key", get("lz", ""), nil},
		{"the key behind", get("m", ""), denied},
		{"a range in one piece", get("c", "f"), nil},
		{"a range in two pieces", get("d", "l"), nil},
		{"a range that is not covered", get("d", "n"), denied},
		{"all from a key on", get("d", "\x00"), denied},
		{"a single key as a range", get("x", "x\x00"), nil},
		{"from a single key", get("x", "y"), denied},
		{"an empty range", get("d", "d"), nil},
		{"an empty range outside", get("n", "a"), denied},
		{"write a key", put("b", 0, false), nil},
		{"write, not read", put("b", 0, true), denied},
		{"write and read", put("d", 0, true), nil},
		{"read, not write", put("g", 0, false), denied},
		{"attach", put("b", 1, false), nil},
		{"attach to another's lease", put("b", 2, false), denied},
		{"attach to no lease", put("b", 3, false), nil},
		{"delete a range", del("b", "e", false), nil},
		{"delete a range, and read it", del("b", "e", true), denied},
		{"delete what may be read, and read it", del("c", "e", true), nil},
		{"delete more", del("b", "f", false), denied},
		{"delete all from a key on", del("o", "\x00", false), nil},
		{"delete everything", del("\x00", "\x00", false), denied},
		{"revoke", &pb.LeaseRevokeRequest{ID: 1}, nil},
		{"revoke another's lease", &pb.LeaseRevokeRequest{ID: 2}, denied},
		{"revoke no lease", &pb.LeaseRevokeRequest{ID: 3}, nil},
		{"grant a lease", &pb.LeaseGrantRequest{ID: 9}, nil},
		{"compact", &pb.CompactionRequest{}, denied},
		{"alarm", &pb.AlarmRequest{}, denied},
		{"a user", &pb.AuthUserAddRequest{}, denied},
		{"enable", &pb.AuthEnableRequest{}, denied},
		{"a comparison", txn(compare("c", ""), put("b", 0, false), get("x", "")), nil},
		{"a comparison with what is not to be read", txn(compare("b", ""), put("b", 0, false), nil), denied},
		{"a comparison with a range", txn(compare("c", "n"), nil, nil), denied},
		{"the other branch", txn(nil, put("b", 0, false), get("b", "")), denied},
		{"a nested one", txn(nil, nil, txn(nil, txn(nil, nil, del("b", "f", false)), nil)), denied},
		{"a nested comparison", txn(nil, txn(compare("n", ""), nil, nil), nil), denied},
		{"a lease in a transaction", txn(nil, put("b", 2, false), nil), denied},
	} {
		if err := s.Check(who("alice", s.Revision()), c.request, attached); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.what, err, c.err)
		}
		if err := s.Check(who(Root, s.Revision()), c.request, attached); err != nil {
			t.Errorf("%s: root: %v", c.what, err)
		}
		if err := s.Check(Identity{}, c.request, attached); !errors.Is(err, command.ErrUserEmpty) {
			t.Errorf("%s: nobody: %v", c.what, err)
		}
		if err := New().Check(Identity{}, c.request, nil); err != nil {
			t.Errorf("%s: disabled: %v", c.what, err)
		}
	}
}

// An identity of which only the revision is known, and that is of before a change, is refused for keys, and not for
// what only root may, as in etcd.
func TestAnOldIdentityIsRefused(t *testing.T) {
	s := permitted(t)
	old := s.Revision() - 1
	for _, c := range []struct {
		id      Identity
		request proto.Message
		err     error
	}{
		{who("alice", old), get("c", ""), command.ErrAuthOldRevision},
		{who(Root, old), put("c", 0, false), command.ErrAuthOldRevision},
		{who("alice", s.Revision()+9), get("c", ""), nil},
		{who("alice", old), &pb.LeaseRevokeRequest{ID: 1}, command.ErrAuthOldRevision},
		{who(Root, old), &pb.LeaseRevokeRequest{ID: 1}, nil},
		{who(Root, old), &pb.AuthUserAddRequest{}, nil},
		{who("bob", s.Revision()), get("c", ""), command.ErrPermissionDenied},
		{who("carol", s.Revision()), get("c", ""), command.ErrPermissionDenied},
		{who("carol", s.Revision()), &pb.AuthUserAddRequest{}, command.ErrUserNotFound},
		{who("alice", 0), get("c", ""), command.ErrUserEmpty},
	} {
		if err := s.Check(c.id, c.request, attached); !errors.Is(err, c.err) {
			t.Errorf("%+v %T: %v, want %v", c.id, c.request, err, c.err)
		}
	}
	if s.ReadRange(Identity{}, []byte("c"), nil) == nil || s.WriteKey(Identity{}, []byte("c")) == nil {
		t.Error("nobody may do something")
	}
	if s.WriteKey(who("alice", s.Revision()), []byte("b")) != nil || New().WriteKey(Identity{}, nil) != nil {
		t.Error("alice may not write what she may")
	}
}

// An identity that says on which password it stands is judged by that, for whatever it asks, and by the rights of now;
// its revision counts only if it says no more than that of when it is.
func TestAnIdentityStandsOnItsPassword(t *testing.T) {
	s := permitted(t)
	old := s.Revision() - 1
	standing := func(name string) Identity {
		t.Helper()
		basis, ok := s.Basis(name)
		if !ok {
			t.Fatalf("%s has no basis", name)
		}
		return Identity{User: name, Revision: old, Basis: basis, Present: true}
	}
	alice, root := standing("alice"), standing(Root)
	of := func(id Identity) Identity { id.Present = false; return id }
	certificate := Identity{User: "alice", Revision: old, Present: true}
	users, revoke := &pb.AuthUserAddRequest{}, &pb.LeaseRevokeRequest{ID: 2}
	grant, nothing := &pb.LeaseGrantRequest{ID: 9}, &pb.TxnRequest{}
	type check struct {
		id      Identity
		request proto.Message
		err     error
	}
	judge := func(when string, checks ...check) {
		t.Helper()
		for _, c := range checks {
			if err := s.Check(c.id, c.request, attached); !errors.Is(err, c.err) {
				t.Errorf("%s: %+v, %T: %v, want %v", when, c.id, c.request, err, c.err)
			}
		}
	}
	denied, outdated := command.ErrPermissionDenied, command.ErrAuthOldRevision
	judge("of an old revision", check{alice, get("c", ""), nil}, check{alice, put("b", 1, false), nil},
		check{alice, get("n", ""), denied}, check{alice, users, denied}, check{alice, grant, nil},
		check{root, put("z", 2, false), nil}, check{root, users, nil}, check{root, revoke, nil},
		check{of(alice), get("c", ""), outdated}, check{of(root), users, nil}, check{certificate, get("c", ""), nil})
	s.must(userPassword("alice", "bmV3"), userPassword(Root, "bmV3"))
	judge("with another password", check{alice, get("c", ""), outdated}, check{alice, grant, outdated},
		check{alice, nothing, outdated}, check{root, put("z", 0, false), outdated}, check{root, users, outdated},
		check{root, revoke, outdated}, check{of(root), users, outdated}, check{certificate, get("c", ""), nil})
	if s.Admin(root) == nil || s.ReadRange(alice, []byte("c"), nil) == nil || s.WriteKey(alice, []byte("b")) == nil {
		t.Error("who stands on another password may do something")
	}
	_, user := s.UserGet(alice, &pb.AuthUserGetRequest{Name: "alice"})
	_, role := s.RoleGet(alice, &pb.AuthRoleGetRequest{Role: "a"})
	if !errors.Is(user, outdated) || !errors.Is(role, outdated) {
		t.Errorf("who stands on another password is told of himself: %v, %v", user, role)
	}
	alice, root = standing("alice"), standing(Root)
	if _, err := s.RoleGet(alice, &pb.AuthRoleGetRequest{Role: "a"}); err != nil {
		t.Errorf("of her role: %v", err)
	}
	s.must(roleRevoke("a", "c", "f"), userDelete("bob"))
	judge("with other rights", check{alice, get("c", ""), denied}, check{alice, get("g", ""), nil},
		check{certificate, get("c", ""), denied})
	s.must(userDelete("alice"), userAdd("alice"))
	judge("of another one with that name", check{alice, get("g", ""), outdated},
		check{certificate, get("g", ""), denied})
	s.must(disable())
	judge("disabled", check{alice, get("z", ""), nil}, check{root, users, nil})
}

// A request that names a lease again and again has its keys looked at once, and is answered as if they had been looked
// at each time; the next request has them looked at anew.
func TestTheKeysOfALeaseAreLookedAtOnceForARequest(t *testing.T) {
	s := permitted(t)
	alice := who("alice", s.State.Revision())
	walks := map[int64]int{}
	counting := func(lease int64, visit func(key []byte) error) error {
		walks[lease]++
		return attached(lease, visit)
	}
	txn := func(lease int64) *pb.TxnRequest {
		q := &pb.TxnRequest{}
		for range 50 {
			q.Success = append(q.Success, opOf(put("c", lease, false)))
			q.Failure = append(q.Failure, opOf(&pb.TxnRequest{Success: []*pb.RequestOp{opOf(put("d", lease, true))}}))
		}
		return q
	}
	for range 2 {
		if err := s.State.Check(alice, txn(1), counting); err != nil {
			t.Error(err)
		}
	}
	if walks[1] != 2 {
		t.Errorf("%d walks over the keys of a lease for two requests", walks[1])
	}
	mixed := txn(1)
	mixed.Success = append(mixed.Success, opOf(put("c", 2, false)))
	if err := s.State.Check(alice, mixed, counting); !errors.Is(err, command.ErrPermissionDenied) {
		t.Errorf("another's lease behind one's own: %v", err)
	}
	mixed = txn(1)
	mixed.Failure = append(mixed.Failure, opOf(put("f", 1, false)))
	if err := s.State.Check(alice, mixed, counting); !errors.Is(err, command.ErrPermissionDenied) {
		t.Errorf("another's key with a lease that was looked at: %v", err)
	}
}
