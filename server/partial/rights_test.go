package partial

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
)

// What is known of users and roles never goes back, and outlives the process.
func TestKnownRightsNeverGoBack(t *testing.T) {
	o := PlaceOptions{Dir: t.TempDir(), Fleet: "f", Region: "edge", Prefixes: prefixes(t, "/a/"),
		Store: kv.Options{CacheBytes: 1 << 20, Logger: logger(t)}}
	place, err := OpenPlace(o)
	if err != nil {
		t.Fatal(err)
	}
	const far = 1 << 40 // a revision of a reign behind a failover
	none, some := etcdapi.Rights{}, etcdapi.Rights{Enabled: true}
	known, empty := etcdapi.Rights{At: 7, Revision: 8, Enabled: true}, etcdapi.Rights{At: far, Revision: 1}
	for i, c := range []struct {
		heard etcdapi.Rights
		fresh bool
		want  etcdapi.Rights
	}{
		// Of sources of a version that says only whether there are users.
		{some, false, some}, {none, false, some}, {none, true, none}, {some, false, some},
		// Of others, which may be older than those.
		{etcdapi.Rights{At: 5, Revision: 8}, false, some},
		{etcdapi.Rights{At: 5, Revision: 8}, true, etcdapi.Rights{At: 5, Revision: 8}},
		{known, false, known},
		{etcdapi.Rights{At: 9, Revision: 8}, true, known},
		{etcdapi.Rights{At: 9, Revision: 7}, true, known},
		{etcdapi.Rights{At: 9, Revision: 8, Enabled: true}, true, known},
		// Of the former again.
		{none, false, known}, {some, false, known}, {none, true, etcdapi.Rights{At: 7, Revision: 8}},
		{known, false, known},
		// Behind a failover that cut off all that was ever changed.
		{empty, false, empty}, {known, true, empty},
	} {
		if err := place.heard(c.heard, c.fresh); err != nil {
			t.Fatal(err)
		}
		if now := place.Rights(); now != c.want {
			t.Errorf("%d: of %v, fresh %t: %v, want %v", i, c.heard, c.fresh, now, c.want)
		}
	}
	before := place.Rights()
	if err := place.hearAnew(); err != nil {
		t.Fatal(err)
	}
	if err := place.Close(); err != nil {
		t.Fatal(err)
	}
	if place, err = OpenPlace(o); err != nil {
		t.Fatal(err)
	}
	if now := place.Rights(); now != before {
		t.Errorf("after a start: %v, want %v", now, before)
	}
	// Behind a copy: as a fresh source says once, which says how new they are.
	restored := etcdapi.Rights{At: 5, Revision: 4, Enabled: true}
	for i, c := range []struct {
		heard etcdapi.Rights
		fresh bool
		want  etcdapi.Rights
	}{
		{restored, false, before},
		{some, true, etcdapi.Rights{At: before.At, Revision: before.Revision, Enabled: true}},
		{restored, true, restored}, {etcdapi.Rights{At: 6, Revision: 3, Enabled: true}, true, restored},
	} {
		if err := place.heard(c.heard, c.fresh); err != nil {
			t.Fatal(err)
		}
		if now := place.Rights(); now != c.want {
			t.Errorf("behind a copy, %d: of %v, fresh %t: %v, want %v", i, c.heard, c.fresh, now, c.want)
		}
		if is := i == 3; place.isAhead() != is {
			t.Errorf("behind a copy, %d: ahead of the fleet: %t", i, !is)
		}
	}
	if err := place.Close(); err != nil {
		t.Fatal(err)
	}
}

// A fleet that was restored in its place has fewer changes of users and roles: what it has counts as soon as it has
// given a copy. Where it gives none, it is said why nobody may read.
func TestAFleetWithFewerChangesOfUsersGivesACopy(t *testing.T) {
	before, restored, dir := startWhole(t, "us-1"), startWhole(t, "us-2"), t.TempDir()
	for _, w := range []*whole{before, restored} {
		w.write(put("/a/x", "1"))
	}
	before.enableUsers()
	e := startEdge(t, dir, before.addr)
	e.holds(before)
	e.stop()
	e = startEdge(t, dir, restored.addr)
	until(t, "it says why nobody may read", func() bool { return e.Standing().Problem == aheadProblem })
	if s := e.Standing(); !s.Shows || !s.Auth {
		t.Errorf("%+v", s)
	}
	e.stop()
	restored.write(put("/a/x", "2"), put("/a/x", "3"))
	restored.write(command.EncodeCompaction(&pb.CompactionRequest{Revision: restored.Node.Store.Revision()}))
	e = startEdge(t, dir, restored.addr)
	e.holds(restored)
	want := etcdapi.RightsOf(restored.Node.Store)
	until(t, "it has the users of what was restored", func() bool { return e.Place.Rights() == want })
	until(t, "nothing is wrong", func() bool { return e.Standing().Problem == "" })
	if s := e.Standing(); s.Copies != 1 || s.Auth {
		t.Errorf("%+v", s)
	}
}

// enableUsers has a node have a user, and requests say who asks.
func (w *whole) enableUsers() {
	w.t.Helper()
	for _, r := range []proto.Message{
		&pb.AuthUserAddRequest{Name: "root", Options: &authpb.UserAddOptions{NoPassword: true}},
		&pb.AuthRoleAddRequest{Name: "root"}, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"},
	} {
		c, err := command.EncodeAuth(r)
		if err != nil {
			w.t.Fatal(err)
		}
		w.write(c)
	}
	key := bytes.Repeat([]byte("k"), command.TokenKeyBytes)
	w.write(command.EncodeAuthEnable(command.AuthEnable{TokenKey: key}))
	if !etcdapi.RightsOf(w.Node.Store).Enabled {
		w.t.Fatal("users are not enabled")
	}
}

// A source whose users and roles are older than those that were heard of changes nothing of what is known of them, also
// where it has the same keys.
func TestASourceWithOlderRights(t *testing.T) {
	us, eu, dir := startWhole(t, "us-1"), startWhole(t, "eu-1"), t.TempDir()
	for _, w := range []*whole{us, eu} {
		w.write(put("/a/x", "1"))
	}
	us.enableUsers()
	want := etcdapi.RightsOf(us.Node.Store)
	e := startEdge(t, dir, us.addr, eu.addr)
	e.holds(us)
	if now := e.Place.Rights(); now != want {
		t.Fatalf("it has heard of %v, want %v", now, want)
	}
	us.stop()
	eu.write(put("/a/y", "1"))
	e.holds(eu)
	if now := e.Place.Rights(); now != want || !e.Standing().Auth {
		t.Errorf("of a source that is behind it has heard %v, want %v", now, want)
	}
	e.stop()
	e = startEdge(t, dir, eu.addr)
	eu.write(put("/a/z", "1"))
	e.holds(eu)
	if now := e.Place.Rights(); now != want {
		t.Errorf("after a start it knows of %v, want %v", now, want)
	}
}

// judging is a node that answers ranges with its number, or refuses them, by the users and roles that it has.
type judging struct {
	pb.UnimplementedKVServer
	pb.UnimplementedAuthServer
	number  int64
	has     etcdapi.Rights
	refuses error
	older   bool // it is of a version that does not say by which it judges
	cut     bool // from the primary
}

func (j *judging) Range(ctx context.Context, _ *pb.RangeRequest) (*pb.RangeResponse, error) {
	if !j.older {
		if err := grpc.SetHeader(ctx, metadata.Pairs(etcdapi.RightsKey, j.has.String())); err != nil {
			return nil, err
		}
	}
	if j.refuses != nil {
		return nil, j.refuses
	}
	return &pb.RangeResponse{Count: j.number}, nil
}

func (j *judging) AuthStatus(context.Context, *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	if j.cut {
		return nil, status.Error(codes.FailedPrecondition, "it shows its history late")
	}
	return &pb.AuthStatusResponse{Header: &pb.ResponseHeader{Revision: j.has.At}, Enabled: j.has.Enabled,
		AuthRevision: j.has.Revision}, nil
}

func (j *judging) serve(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterKVServer(s, j)
	pb.RegisterAuthServer(s, j)
	go s.Serve(l) //nolint:errcheck // ends with Stop
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// Neither an answer nor a refusal counts of a node whose users and roles are older than those that are known: another
// one is asked, and if there is none nobody has said anything.
func TestAJudgementByOlderRightsDoesNotCount(t *testing.T) {
	known := etcdapi.Rights{At: 9, Revision: 8, Enabled: true}
	older, newer := etcdapi.Rights{At: 9, Revision: 8}, etcdapi.Rights{At: 9, Revision: 9, Enabled: true}
	denied := status.Error(codes.PermissionDenied, "denied")
	for name, c := range map[string]struct {
		first, second *judging
		want          codes.Code
		by            int64 // who answers
	}{
		"the first knows":            {&judging{has: newer}, &judging{has: known}, codes.OK, 1},
		"the first is behind":        {&judging{has: older}, &judging{has: known}, codes.OK, 2},
		"both are behind":            {&judging{has: older}, &judging{has: older}, codes.Unavailable, 0},
		"a refusal of who is behind": {&judging{has: older, refuses: denied}, &judging{has: known}, codes.OK, 2},
		"a refusal": {&judging{has: known, refuses: denied}, &judging{has: known},
			codes.PermissionDenied, 0},
		"of a version before":         {&judging{has: known, older: true}, &judging{has: known}, codes.OK, 1},
		"of a version before, behind": {&judging{has: older, older: true}, &judging{has: known}, codes.OK, 2},
		"of a version before, cut": {&judging{has: known, older: true, cut: true}, &judging{has: known},
			codes.OK, 2},
		"all of a version before, cut": {&judging{has: known, older: true, cut: true},
			&judging{has: known, older: true, cut: true}, codes.Unavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c.first.number, c.second.number = 1, 2
			links, err := Dial([]string{c.first.serve(t), c.second.serve(t)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { links.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), hang)
			defer cancel()
			answer := new(pb.RangeResponse)
			q := &pb.RangeRequest{Key: []byte("k")}
			err = links.Judge(ctx, known, pb.KV_Range_FullMethodName, q, answer)
			if status.Code(err) != c.want || err == nil && answer.Count != c.by {
				t.Errorf("%v by %d; want %v by %d", err, answer.Count, c.want, c.by)
			}
			// Where nobody has said how new any are, the first one counts that answers.
			nothing := etcdapi.Rights{Enabled: true}
			err = links.Judge(ctx, nothing, pb.KV_Range_FullMethodName, q, answer)
			if !errors.Is(err, c.first.refuses) || err == nil && answer.Count != 1 {
				t.Errorf("where nothing is known: %v by %d", err, answer.Count)
			}
		})
	}
}
