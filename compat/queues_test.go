package compat

import (
	"context"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

// asked is one request to a side.
type asked func(ctx context.Context, s *side) (proto.Message, error)

func lockOf(name string, lease int64) asked {
	return func(ctx context.Context, s *side) (proto.Message, error) {
		return s.lock.Lock(ctx, &v3lockpb.LockRequest{Name: []byte(name), Lease: lease})
	}
}

func unlockOf(key string) asked {
	return func(ctx context.Context, s *side) (proto.Message, error) {
		return s.lock.Unlock(ctx, &v3lockpb.UnlockRequest{Key: []byte(key)})
	}
}

func campaignOf(name string, lease int64, value string) asked {
	return func(ctx context.Context, s *side) (proto.Message, error) {
		return s.election.Campaign(ctx,
			&v3electionpb.CampaignRequest{Name: []byte(name), Lease: lease, Value: []byte(value)})
	}
}

func leaderOf(name string) asked {
	return func(ctx context.Context, s *side) (proto.Message, error) {
		return s.election.Leader(ctx, &v3electionpb.LeaderRequest{Name: []byte(name)})
	}
}

func proclaimOf(key *v3electionpb.LeaderKey, value string) asked {
	return func(ctx context.Context, s *side) (proto.Message, error) {
		return s.election.Proclaim(ctx, &v3electionpb.ProclaimRequest{Leader: key, Value: []byte(value)})
	}
}

func resignOf(key *v3electionpb.LeaderKey) asked {
	return func(ctx context.Context, s *side) (proto.Message, error) {
		return s.election.Resign(ctx, &v3electionpb.ResignRequest{Leader: key})
	}
}

// sent is any request of which a side knows what to do.
func sent(r proto.Message) asked {
	return func(ctx context.Context, s *side) (proto.Message, error) { return s.send(ctx, r) }
}

// pair asks a real etcd and a node the same.
type pair struct {
	*testing.T
	sides [2]*side
	token *tokens
}

func newPair(t *testing.T) *pair {
	return &pair{T: t, sides: [2]*side{
		dial(t, "etcd", startEtcd(t, "simple")), dial(t, "mimir", etcdapitest.StartPlain(t).Endpoint),
	}}
}

const pairWait = 30 * time.Second

// both compares the answers to one request, and returns that of the node.
func (p *pair) both(what string, ask asked) answer {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), pairWait)
	defer cancel()
	var answers [2]answer
	for i, s := range p.sides {
		answers[i] = answerOf(ask(p.token.at(s, ctx), s))
	}
	p.compare(what, answers)
	return answers[1]
}

func (p *pair) compare(what string, answers [2]answer) {
	p.Helper()
	etcd, mimir := answers[0], answers[1]
	if etcd.code != mimir.code || etcd.text != mimir.text {
		p.Errorf("%s: different outcomes\netcd:  %s %q %v\nmimir: %s %q %v", what,
			etcd.code, etcd.text, etcd.response, mimir.code, mimir.text, mimir.response)
		return
	}
	if etcd.response != nil && !proto.Equal(etcd.response, mimir.response) {
		p.Errorf("%s: different responses\netcd:  %v\nmimir: %v", what, etcd.response, mimir.response)
	}
}

// waits sends a request that waits. compare compares the answers, which the end of the request's context may bring.
func (p *pair) waits(what string, ask asked) (compare, cancel func()) {
	ctx, cancel := context.WithTimeout(p.Context(), pairWait)
	var answers [2]chan answer
	for i, s := range p.sides {
		answers[i] = make(chan answer, 1)
		go func() { answers[i] <- answerOf(ask(p.token.at(s, ctx), s)) }()
	}
	return func() {
		p.Helper()
		p.compare(what, [2]answer{<-answers[0], <-answers[1]})
		cancel()
	}, cancel
}

// queued waits until there are so many keys of a queue.
func (p *pair) queued(queue string, n int64) {
	p.Helper()
	count := &pb.RangeRequest{Key: []byte(queue + "/"), RangeEnd: []byte(queue + "0"), CountOnly: true}
	for _, s := range p.sides {
		for deadline := time.Now().Add(pairWait); ; {
			seen := s.do(p.token.at(s, p.Context()), count)
			if r, ok := seen.response.(*pb.RangeResponse); ok && r.Count == n {
				break
			}
			if time.Now().After(deadline) {
				p.Fatalf("%s: %s has not come to %d keys: %v", s.name, queue, n, seen)
			}
		}
	}
}

func (p *pair) grant(ids ...int64) {
	p.Helper()
	for _, id := range ids {
		p.both("grant", sent(&pb.LeaseGrantRequest{ID: id, TTL: 3600}))
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.grant(1, 2, 3, 0x1f, -5)
	p.both("no such lease", lockOf("free", 77))
	p.both("free", lockOf("l", 1))
	p.both("held by the same", lockOf("l", 1))
	p.both("no name", lockOf("", 0x1f))
	p.both("a negative lease", lockOf("n", -5))
	second, _ := p.waits("the second", lockOf("l", 2))
	p.queued("l", 2)
	third, _ := p.waits("the third", lockOf("l", 3))
	p.queued("l", 3)
	fourth, leave := p.waits("who leaves", lockOf("l", 0x1f))
	p.queued("l", 4)
	leave()
	fourth()
	p.queued("l", 3)
	p.both("unlock", unlockOf("l/1"))
	second()
	p.both("revoke", sent(&pb.LeaseRevokeRequest{ID: 2}))
	third()
	expired, _ := p.waits("whose lease ends", lockOf("l", 1))
	p.queued("l", 2)
	p.both("revoke", sent(&pb.LeaseRevokeRequest{ID: 1}))
	p.both("unlock", unlockOf("l/3"))
	expired()
	p.both("unlock again", unlockOf("l/3"))
	p.both("unlock nothing", unlockOf(""))
}

func TestElections(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.grant(1, 2, 3)
	p.both("nobody", leaderOf("e"))
	seen := p.observe("e")
	p.both("no such lease", campaignOf("e", 77, "x"))
	p.both("the first", campaignOf("e", 1, "a"))
	seen("a")
	p.both("the same again", campaignOf("e", 1, "a"))
	got := p.both("the same with another value", campaignOf("e", 1, "b"))
	first, ok := got.response.(*v3electionpb.CampaignResponse)
	if !ok {
		t.Fatal("not elected")
	}
	seen("b")
	p.both("leader", leaderOf("e"))
	p.both("proclaim", proclaimOf(first.Leader, "c"))
	seen("c")
	p.both("proclaim nothing", proclaimOf(nil, "c"))
	p.both("resign nothing", resignOf(nil))
	p.both("resign an empty key", resignOf(&v3electionpb.LeaderKey{Name: []byte("e"), Lease: 1}))
	old := proto.Clone(first.Leader).(*v3electionpb.LeaderKey)
	old.Rev--
	p.both("proclaim of before", proclaimOf(old, "d"))
	p.both("resign of before", resignOf(old))
	second, _ := p.waits("the second", campaignOf("e", 2, "2"))
	p.queued("e", 2)
	third, leave := p.waits("who leaves", campaignOf("e", 3, "3"))
	p.queued("e", 3)
	leave()
	third()
	p.queued("e", 2)
	p.both("resign", resignOf(first.Leader))
	second()
	p.both("leader", leaderOf("e"))
	seen("2")
	p.both("resign again", resignOf(first.Leader))
	p.both("revoke", sent(&pb.LeaseRevokeRequest{ID: 2}))
	p.both("nobody", leaderOf("e"))
	p.both("proclaim of who was", proclaimOf(first.Leader, "e"))
	p.both("again", campaignOf("e", 1, "z"))
	seen("z")
}

// observe looks on at an election; what it returns wants to know the values that are seen, on both sides. Each is to be
// asked for while it is the last: neither side promises to show what was overtaken.
func (p *pair) observe(name string) (seen func(values ...string)) {
	ctx, cancel := context.WithTimeout(p.Context(), pairWait)
	p.Cleanup(cancel)
	var streams [2]v3electionpb.Election_ObserveClient
	for i, s := range p.sides {
		stream, err := s.election.Observe(p.token.at(s, ctx), &v3electionpb.LeaderRequest{Name: []byte(name)})
		if err != nil {
			p.Fatal(err)
		}
		streams[i] = stream
	}
	return func(values ...string) {
		p.Helper()
		for _, value := range values {
			for i, stream := range streams {
				r, err := stream.Recv()
				if err != nil || string(r.Kv.Value) != value {
					p.Fatalf("%s saw %v, %v; want %q", p.sides[i].name, r, err, value)
				}
			}
		}
	}
}

// Whoever locks or campaigns reads and writes as himself.
func TestQueuesWithUsers(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.grant(1, 2, 3)
	for _, r := range []proto.Message{
		&pb.AuthUserAddRequest{Name: "root", Password: "r"}, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"},
		&pb.AuthUserAddRequest{Name: "ann", Password: "a"}, &pb.AuthRoleAddRequest{Name: "some"},
		&pb.AuthRoleGrantPermissionRequest{Name: "some", Perm: &authpb.Permission{
			PermType: authpb.READWRITE, Key: []byte("a"), RangeEnd: []byte("b")}},
		&pb.AuthRoleGrantPermissionRequest{Name: "some", Perm: &authpb.Permission{
			PermType: authpb.READ, Key: []byte("r"), RangeEnd: []byte("s")}},
		&pb.AuthUserGrantRoleRequest{User: "ann", Role: "some"}, &pb.AuthEnableRequest{},
	} {
		p.both("set up", sent(r))
	}
	p.both("nobody locks", lockOf("a", 1))
	p.both("nobody campaigns", campaignOf("a", 1, "v"))
	p.both("nobody looks", leaderOf("a"))
	p.login("ann", "a")
	p.both("lock", lockOf("a", 1))
	p.both("unlock", unlockOf("a/1"))
	p.both("campaign", campaignOf("a", 1, "v"))
	for _, name := range []string{"r", "z"} {
		p.both("lock "+name, lockOf(name, 1))
		p.both("unlock "+name, unlockOf(name+"/1"))
		p.both("campaign "+name, campaignOf(name, 1, "v"))
		p.both("leader "+name, leaderOf(name))
		key := &v3electionpb.LeaderKey{Name: []byte(name), Key: []byte(name + "/1"), Lease: 1}
		p.both("proclaim "+name, proclaimOf(key, "v"))
		p.both("resign "+name, resignOf(key))
	}
	p.both("no lease", lockOf("a", 99))
}

// login logs in on both sides.
func (p *pair) login(name, password string) {
	p.Helper()
	p.token = nil
	var answers [2]answer
	for i, s := range p.sides {
		answers[i] = s.do(p.Context(), &pb.AuthenticateRequest{Name: name, Password: password})
	}
	if p.token = given(answers[0], answers[1]); p.token == nil {
		p.Fatal("no tokens", answers)
	}
	p.token.user = name
}
