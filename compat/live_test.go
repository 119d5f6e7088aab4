package compat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/live"
	"github.com/mimir-kv/mimir/backup/sides"
	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv"
)

// TestFollow has Mimir follow an etcd with random histories, while that is compacted and whoever follows is killed and
// started again; then it is opened, and all that can be read and watched, at every revision, is the same.
func TestFollow(t *testing.T) {
	for _, seed := range seeds()[:(len(seeds())+1)/2] {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { followRandom(t, seed) })
	}
}

func followRandom(t *testing.T, seed uint64) {
	l := begin(t, seed, 60)
	if seed%2 == 0 {
		l.enable()
	}
	l.fleet()
	for range 4 {
		stop := l.follow(seed%3 == 0)
		l.fill(30)
		stop() // wherever it is
		l.fill(5)
	}
	l.follow(false)
	l.refusesClients()
	l.fill(20)
	for end := time.Now().Add(30 * time.Second); l.there() < l.revision && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	l.must(l.mimir, &pb.CompactionRequest{Revision: max(l.compacted, 1)}) // clients may, also before it is opened
	c, err := live.Finish(t.Context(), l.side(l.etcd), l.side(l.mimir), live.FinishOptions{Fence: true})
	if err != nil || c.Revision != l.revision || c.Keys == 0 {
		t.Fatalf("opened at %+v, the etcd is at %d: %v", c, l.revision, err)
	}
	if a := l.etcd.do(l.as, &pb.PutRequest{Key: []byte("late")}); !strings.Contains(a.text, "corrupt") {
		t.Errorf("the etcd still takes writes: %v %s", a.response, a.text)
	}
	if err := <-l.ended; err != nil {
		t.Errorf("whoever followed ended with %v", err)
	}
	l.disarm()
	l.same(l.etcd, l.mimir)
	verified := max(l.compacted, 1)
	if _, err := live.Changes(t.Context(), l.side(l.etcd), l.side(l.mimir), verified, l.revision, nil); err != nil {
		t.Error(err)
	}
	if v, err := live.Verify(t.Context(), l.side(l.etcd), l.side(l.mimir), live.VerifyOptions{Every: 16}); err != nil ||
		len(v.Ranges) == 0 || v.Ranges[len(v.Ranges)-1].To != l.revision {
		t.Errorf("hashes of ranges: %+v, %v", v, err)
	}
	l.must(l.mimir, &pb.PutRequest{Key: []byte("now of clients")})
}

// TestFollowLeases: a lease that nobody keeps ends as the etcd ends it, and not by itself, though nobody follows for
// longer than it lives; one that is kept there lives on here, also behind the move.
func TestFollowLeases(t *testing.T) {
	l := begin(t, 1, 0)
	const ttl = 8 // longer than a busy machine needs from here to the snapshot, and from opening to asking
	for id, key := range map[int64]string{101: "dies", 102: "lives"} {
		l.must(l.etcd, &pb.LeaseGrantRequest{ID: id, TTL: ttl})
		l.must(l.etcd, &pb.PutRequest{Key: []byte(key), Lease: id})
	}
	kept := make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(kept)
		for ctx.Err() == nil {
			l.etcd.do(ctx, &pb.LeaseKeepAliveRequest{ID: 102})
			time.Sleep(100 * time.Millisecond)
		}
	}()
	l.revision = 3
	l.fleet()
	for dies := time.Now().Add(time.Minute); l.now(l.etcd) == 3 && time.Now().Before(dies); {
		time.Sleep(20 * time.Millisecond)
	}
	if n := l.node.Store.Revision(); n != 3 {
		t.Errorf("at revision %d the fleet has ended a lease by itself", n)
	}
	l.follow(false)
	_, err := live.Finish(t.Context(), l.side(l.etcd), l.side(l.mimir), live.FinishOptions{Fence: true})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-kept
	l.disarm()
	r := l.must(l.mimir, &pb.LeaseTimeToLiveRequest{ID: 102, Keys: true}).(*pb.LeaseTimeToLiveResponse)
	if r.GrantedTTL != ttl || r.TTL < 1 || len(r.Keys) != 1 || r.Header.Revision != 4 {
		t.Errorf("what is kept: %v", r)
	}
	if r := l.must(l.mimir, &pb.LeaseTimeToLiveRequest{ID: 101}).(*pb.LeaseTimeToLiveResponse); r.TTL != -1 {
		t.Errorf("what has ended: %v", r)
	}
}

// TestFollowEnds: what cannot be followed is told apart, and nothing is applied then.
func TestFollowEnds(t *testing.T) {
	put := &pb.PutRequest{Key: []byte("k"), Value: []byte("v")}
	l := begin(t, 1, 0)
	for range 4 {
		l.revision = l.must(l.etcd, put).(*pb.PutResponse).Header.Revision
	}
	own, another := l.etcd, dial(t, "another", startEtcd(t, "simple"))
	file := l.save(own)
	for _, c := range []struct {
		what   string
		etcd   *side
		change func()
		want   error
	}{
		{"an etcd that is behind", another, func() {}, live.ErrParted},
		{"an etcd that had something else", another, func() {
			for range 9 {
				l.must(another, &pb.PutRequest{Key: []byte("other")})
			}
		}, live.ErrParted},
		{"an etcd that had something else and does not know", another, func() {
			l.must(another, &pb.CompactionRequest{Revision: l.revision + 1})
		}, live.ErrParted},
		{"compacted", own, func() {
			for range 3 {
				l.must(own, put)
			}
			l.must(own, &pb.CompactionRequest{Revision: l.revision + 3})
		}, live.ErrCompacted},
		{"users", own, func() { l.must(own, &pb.AuthUserAddRequest{Name: "new", Password: "p"}) }, live.ErrUsers},
	} {
		c.change()
		l.etcd = c.etcd
		l.fleetOf(file)
		l.follow(false)
		select {
		case err := <-l.ended:
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.what, err, c.want)
			}
		case <-time.After(2 * time.Minute):
			t.Errorf("%s: still following", c.what)
		}
		if n := l.node.Store.Revision(); n != l.revision || !kv.Follows(l.node.Store) {
			t.Errorf("%s: the fleet is at %d", c.what, n)
		}
	}
}

// living is an etcd and a fleet that follows it.
type living struct {
	*migration
	node  *etcdapitest.Node
	mimir *side
	ended chan error // of the one who follows
	stop  func()
}

func begin(t *testing.T, seed uint64, requests int) *living {
	l := &living{migration: &migration{T: t, generator: newGenerator(seed)}, stop: func() {}}
	l.etcd = dial(t, "etcd", startEtcd(t, "simple"))
	l.as = t.Context()
	if requests > 0 {
		l.fill(requests)
	}
	return l
}

// fleet makes a fleet that is to follow.
func (l *living) fleet() {
	l.Helper()
	l.fleetOf(l.save(l.etcd))
}

func (l *living) fleetOf(file string) {
	l.Helper()
	disk := vfs.NewMem()
	l.importInto(disk, file, true)
	l.node = etcdapitest.StartOn(l.T, disk, etcdapi.Options{})
	l.mimir = dial(l.T, "mimir", l.node.Endpoint)
	l.there = l.node.Store.Revision
}

// follow begins to follow, and returns what kills whoever does. The test waits for him. Twice has two do it.
func (l *living) follow(twice bool) (kill func()) {
	l.stop()
	ctx, cancel := context.WithCancel(l.Context())
	l.ended = make(chan error, 1)
	done := make(chan struct{})
	o := live.Options{
		From: l.dialer(l.etcd), To: l.dialer(l.mimir), Poll: 20 * time.Millisecond, Report: func(live.Progress) {},
	}
	go func() {
		defer close(done)
		other := make(chan error, 1)
		if twice {
			go func() { other <- live.Follow(ctx, o) }()
		} else {
			other <- nil
		}
		l.ended <- live.Follow(ctx, o)
		<-other
	}()
	l.stop = func() {
		cancel()
		<-done
	}
	l.Cleanup(l.stop)
	return l.stop
}

func (l *living) who() (w backup.Who) {
	if l.root {
		w.User, w.Password = "root", "secret"
	}
	return w
}

func (l *living) dialer(s *side) func(context.Context) (*grpc.ClientConn, error) {
	return func(ctx context.Context) (*grpc.ClientConn, error) { return backup.Dial(ctx, s.endpoint, nil, l.who()) }
}

func (l *living) side(s *side) sides.Side {
	l.Helper()
	conn, err := l.dialer(s)(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { conn.Close() })
	return sides.Side{Name: s.name, Conn: conn}
}

func (l *living) now(s *side) int64 {
	return l.must(s, &pb.RangeRequest{Key: []byte("k")}).(*pb.RangeResponse).Header.Revision
}

func (l *living) disarm() {
	for _, a := range l.must(l.etcd, &pb.AlarmRequest{}).(*pb.AlarmResponse).Alarms {
		l.must(l.etcd, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: a.MemberID, Alarm: a.Alarm})
	}
}

// refusesClients sees that a fleet that follows takes no writes but those.
func (l *living) refusesClients() {
	l.Helper()
	for _, request := range []proto.Message{
		&pb.PutRequest{Key: []byte("k")}, &pb.DeleteRangeRequest{Key: []byte{0}, RangeEnd: []byte{0}},
		&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{
			RequestPut: &pb.PutRequest{Key: []byte("k")}}}}},
		&pb.LeaseGrantRequest{ID: 77, TTL: 60}, &pb.LeaseRevokeRequest{ID: 1},
		&pb.AuthUserAddRequest{Name: "n", Password: "p"},
	} {
		if a := l.mimir.do(l.at(l.mimir), request); a.code != "FailedPrecondition" ||
			!strings.Contains(a.text, "follows an etcd") {
			l.Errorf("%T: %v %s %s", request, a.response, a.code, a.text)
		}
	}
}
