package front

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/server/partial"
)

const (
	secret = "0123456789abcdef0123456789abcdef"
	hang   = 2 * time.Minute
)

// pair is a node of a fleet, and one of a partial region that follows /a/ and /c/ of it.
type pair struct {
	t     *testing.T
	fleet *etcdapitest.Node
	sink  *partial.Sink
	conn  *grpc.ClientConn // to the partial region
	full  *grpc.ClientConn
	cut   func() // between both

	unfit  atomic.Pointer[error] // nobody follows, since
	gather atomic.Pointer[gather]
	quiet  time.Duration // of a stream of keep-alives; 0: as ever
	locked atomic.Bool   // no session begins while nothing is shown
	clock  *suspended    // of what is served
	late   atomic.Int64  // of how many answers about a lease it is said that nothing may be left
}

func serve(t *testing.T, s *grpc.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l) //nolint:errcheck // ends with Stop
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func start(t *testing.T) *pair {
	t.Helper()
	return startBeside(t, etcdapi.Limits{}, 0)
}

// between has streams of keep-alives answer once so many are asked for as gather, if that is set.
func (p *pair) between(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if g := p.gather.Load(); g != nil && info.FullMethod == keepAliveMethod {
		ss = &gathering{ss, g}
	}
	return handle(srv, ss)
}

// tooLate has what is told of a lease's time to live be that nothing may be left, so often as that is set.
func (p *pair) tooLate(ctx context.Context, r any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	answer, err := handle(ctx, r)
	if ttl, ok := answer.(*pb.LeaseTimeToLiveResponse); ok && err == nil && p.late.Add(-1) >= 0 {
		ttl.TTL = 0
	}
	return answer, err
}

// startBeside is start, with limits of the fleet's node, and others that are asked where that is away.
func startBeside(t *testing.T, limits etcdapi.Limits, quiet time.Duration, others ...string) *pair {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	p := &pair{t: t, fleet: etcdapitest.Start(t, limits), quiet: quiet, clock: &suspended{Clock: clock.Real}}
	file := filepath.Join(t.TempDir(), "partial")
	if err := os.WriteFile(file, []byte("edge "+secret+" /a/ /c/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	regions, err := partial.OpenRegions(file, logger)
	if err != nil {
		t.Fatal(err)
	}
	source := partial.NewSource(partial.SourceConfig{Store: p.fleet.Store, Regions: regions, Fleet: "f", Region: "us",
		Node: "us-1", Barrier: func(context.Context) error { return nil }, Fit: p.fit,
		Logger: logger})
	full := grpc.NewServer(append(p.fleet.API.ServerOptions(), // as a node's
		grpc.ChainStreamInterceptor(p.between), grpc.ChainUnaryInterceptor(p.tooLate),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second}))...)
	p.fleet.API.Register(full)
	source.Register(full)
	at := serve(t, full)
	p.cut, p.full = full.Stop, dial(t, at)
	links, err := partial.Dial(append([]string{at}, others...), nil)
	if err != nil {
		t.Fatal(err)
	}
	prefixes, err := partial.ParsePrefixes([]string{"/a/", "/c/"})
	if err != nil {
		t.Fatal(err)
	}
	place, err := partial.OpenPlace(partial.PlaceOptions{Dir: t.TempDir(), Fleet: "f", Region: "edge",
		Prefixes: prefixes, Store: kv.Options{CacheBytes: 1 << 20, Logger: logger}})
	if err != nil {
		t.Fatal(err)
	}
	p.sink = partial.NewSink(partial.SinkConfig{Place: place, Links: links, Node: "e1", Logger: logger,
		Secret: func() (string, error) {
			if p.locked.Load() && !p.sink.Standing().Shows {
				return "", errors.New("no secret")
			}
			return secret, nil
		}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.sink.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := errors.Join(place.Close(), links.Close()); err != nil {
			t.Error(err)
		}
	})
	p.front(place, logger)
	return p
}

func (p *pair) fit() error {
	if err := p.unfit.Load(); err != nil {
		return *err
	}
	return nil
}

// front serves what is held.
func (p *pair) front(place *partial.Place, logger *slog.Logger) {
	f := New(p.sink)
	f.clock = p.clock
	if p.quiet > 0 {
		f.quiet = p.quiet
	}
	lessor := lease.NewLessor(place.Store(), clock.Real, func(context.Context, replication.Tenure, int64) error {
		return nil
	})
	p.t.Cleanup(lessor.Close)
	api := etcdapi.New(etcdapi.Options{Store: place.Store(), Lessor: lessor, Logger: logger, ClusterID: 42,
		Replicator: NewNode(f, []string{"http://edge"}), Unary: f.Unary, Stream: f.Stream})
	s := grpc.NewServer(api.ServerOptions()...)
	api.Register(s)
	p.conn = dial(p.t, serve(p.t, s))
}

func (p *pair) put(conn *grpc.ClientConn, key, value string) *pb.ResponseHeader {
	p.t.Helper()
	r, err := pb.NewKVClient(conn).Put(p.t.Context(), &pb.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		p.t.Fatal(err)
	}
	return r.Header
}

// ask asks the partial region for a key.
func (p *pair) ask(ctx context.Context, key string, stale bool) (string, error) {
	r, err := pb.NewKVClient(p.conn).Range(ctx, &pb.RangeRequest{Key: []byte(key), Serializable: stale})
	if err != nil || len(r.Kvs) == 0 {
		return "", err
	}
	one := r.Kvs[0]
	return fmt.Sprintf("%s c%d m%d v%d l%d", one.Value, one.CreateRevision, one.ModRevision, one.Version,
		one.Lease), nil
}

// A read sees at once what was acknowledged elsewhere before, and a write can be read at once where it was made.
func TestReadsAndWrites(t *testing.T) {
	p := start(t)
	for i := range 50 {
		p.put(p.full, "/b/other", "outside")
		at := p.put(p.full, "/a/x", fmt.Sprint(i)).Revision
		got, err := p.ask(t.Context(), "/a/x", false)
		want := fmt.Sprintf("%d c3 m%d v%d l0", i, at, i+1)
		if err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
		p.put(p.conn, "/c/y", fmt.Sprint(i))
		if got, err := p.ask(t.Context(), "/c/y", true); err != nil || !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
			t.Fatalf("what was written here: %q, %v", got, err)
		}
	}
	p.cut()
	if got, err := p.ask(t.Context(), "/a/x", true); err != nil || !strings.HasPrefix(got, "49 ") {
		t.Errorf("a stale read, cut off: %q, %v", got, err)
	}
	bounded, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if got, err := p.ask(bounded, "/a/x", false); status.Code(err) != codes.Unavailable {
		t.Errorf("a linearizable read, cut off: %q, %v", got, err)
	}
}

// calls are all that name keys, with these.
func calls(key, end []byte) map[string]func(ctx context.Context, c *grpc.ClientConn) error {
	kvs := func(c *grpc.ClientConn) pb.KVClient { return pb.NewKVClient(c) }
	txn := func(compare []*pb.Compare, ops ...*pb.RequestOp) func(context.Context, *grpc.ClientConn) error {
		return func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := kvs(c).Txn(ctx, &pb.TxnRequest{Compare: compare, Failure: ops})
			return err
		}
	}
	read := &pb.RangeRequest{Key: key, RangeEnd: end}
	stale := &pb.RangeRequest{Key: key, RangeEnd: end, Serializable: true}
	opOf := func(r *pb.RangeRequest) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: r}}
	}
	return map[string]func(context.Context, *grpc.ClientConn) error{
		"range": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := kvs(c).Range(ctx, read)
			return err
		},
		"stale range": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := kvs(c).Range(ctx, stale)
			return err
		},
		"range in pieces": func(ctx context.Context, c *grpc.ClientConn) error {
			s, err := kvs(c).RangeStream(ctx, stale)
			if err == nil {
				_, err = s.Recv()
			}
			if errors.Is(err, io.EOF) { // it is empty
				return nil
			}
			return err
		},
		"delete": func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := kvs(c).DeleteRange(ctx, &pb.DeleteRangeRequest{Key: key, RangeEnd: end})
			return err
		},
		"watch": func(ctx context.Context, c *grpc.ClientConn) error {
			return watchRefused(ctx, c, &pb.WatchCreateRequest{Key: key, RangeEnd: end})
		},
		"comparison": txn([]*pb.Compare{{Key: key, RangeEnd: end, Target: pb.Compare_VERSION,
			TargetUnion: &pb.Compare_Version{Version: 1}}}),
		"read in a transaction":       txn(nil, opOf(read)),
		"stale read in a transaction": txn(nil, opOf(stale)),
		"deletion in a nested transaction": txn(nil, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{
			RequestTxn: &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{
				RequestDeleteRange: &pb.DeleteRangeRequest{Key: key, RangeEnd: end}}}}},
		}}),
	}
}

// watchRefused opens a watch, and returns why it was refused.
func watchRefused(ctx context.Context, c *grpc.ClientConn, r *pb.WatchCreateRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := pb.NewWatchClient(c).Watch(ctx)
	if err == nil {
		err = w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
	}
	if err != nil {
		return err
	}
	answer, err := w.Recv()
	if err == nil && answer.Canceled {
		err = status.Error(codes.FailedPrecondition, answer.CancelReason)
	}
	return err
}

// What is outside is refused, whatever names it, and what is within is not.
func TestWhatIsOutsideIsRefused(t *testing.T) {
	p := start(t)
	p.put(p.full, "/a/x", "1")
	p.put(p.full, "/b/x", "outside")
	for _, c := range []struct {
		key, end string
		within   bool
	}{
		{"/a/x", "", true}, {"/a/", "/a0", true}, {"/c/1", "/c/2", true},
		{"/b/x", "", false}, {"/a/", "/b0", false}, {"/a/", "\x00", false}, {"\x00", "\x00", false}, {"/", "", false},
		{"/a/x", "/c/x", false},
	} {
		for what, call := range calls([]byte(c.key), []byte(c.end)) {
			bounded, cancel := context.WithTimeout(t.Context(), hang)
			err := call(bounded, p.conn)
			cancel()
			refused := status.Code(err) == codes.FailedPrecondition &&
				strings.Contains(err.Error(), "follows only /a/, /c/")
			if c.within && err != nil || !c.within && !refused {
				t.Errorf("%s of %q to %q: %v", what, c.key, c.end, err)
			}
		}
	}
	_, err := pb.NewKVClient(p.conn).Put(t.Context(), &pb.PutRequest{Key: []byte("/b/x")})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a write outside: %v", err)
	}
}

// Every method of every service of the API is either about what is followed, or refused: none is passed to what is
// held because nobody thought of it.
func TestWhatIsNotInTheTableIsRefused(t *testing.T) {
	p := start(t)
	served := 0
	s := grpc.NewServer()
	p.fleet.API.Register(s)
	f := New(p.sink)
	var reached bool
	handle := func(context.Context, any) (any, error) {
		reached = true
		return nil, nil
	}
	for service, about := range s.GetServiceInfo() {
		for _, m := range about.Methods {
			full := "/" + service + "/" + m.Name
			known := full == rangeMethod || full == statusMethod || full == membersMethod || full == watchMethod ||
				full == streamMethod || full == keepAliveMethod || strings.HasPrefix(full, healthService) ||
				passed[full] != nil
			if known {
				served++
				continue
			}
			var err error
			if m.IsClientStream || m.IsServerStream {
				err = f.Stream(nil, nil, &grpc.StreamServerInfo{FullMethod: full}, func(any, grpc.ServerStream) error {
					reached = true
					return nil
				})
			} else {
				_, err = f.Unary(t.Context(), nil, &grpc.UnaryServerInfo{FullMethod: full}, handle)
			}
			if reached || !errors.Is(err, f.unserved) {
				t.Errorf("%s: %v", full, err)
			}
		}
	}
	if served < 15 {
		t.Errorf("%d methods are served", served)
	}
}

// A stream of watches goes on beside one that is refused, and sees what is written, everything once.
func TestWatches(t *testing.T) {
	p := start(t)
	from := p.put(p.full, "/a/0", "").Revision
	if _, err := p.ask(t.Context(), "/a/0", false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	w, err := pb.NewWatchClient(p.conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"/b/", "/a/"} {
		end := []byte(key)
		end[len(end)-1]++
		r := &pb.WatchCreateRequest{Key: []byte(key), RangeEnd: end, StartRevision: from + 1}
		err := w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := w.Recv()
		if err != nil || !answer.Created || answer.Canceled != (key == "/b/") {
			t.Fatalf("%s: %v, %v", key, answer, err)
		}
	}
	const writes = 100
	var writing sync.WaitGroup
	defer writing.Wait() // before the context ends
	writing.Go(func() {
		for i := range writes {
			for _, key := range []string{"/b/x", "/a/x"} {
				_, err := pb.NewKVClient(p.full).Put(ctx, &pb.PutRequest{Key: []byte(key), Value: fmt.Append(nil, i)})
				if err != nil {
					t.Error(err)
				}
			}
		}
	})
	for seen := 0; seen < writes; {
		answer, err := w.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range answer.Events {
			if string(e.Kv.Key) != "/a/x" || string(e.Kv.Value) != fmt.Sprint(seen) {
				t.Fatalf("event %d: %v", seen, e)
			}
			seen++
		}
	}
}

// Where users are enabled nobody reads or watches what he may not, stale or not.
func TestUsers(t *testing.T) {
	p := start(t)
	p.put(p.full, "/a/x", "1")
	p.put(p.full, "/c/x", "1")
	p.enableUsers()
	login, err := pb.NewAuthClient(p.conn).Authenticate(t.Context(), &pb.AuthenticateRequest{Name: "u", Password: "u"})
	if err != nil {
		t.Fatal(err)
	}
	known := metadata.AppendToOutgoingContext(t.Context(), "token", login.Token)
	for what, c := range map[string]struct {
		ctx context.Context
		key string
		may bool
	}{
		"what he may": {known, "/c/x", true}, "what he may not": {known, "/a/x", false},
		"nobody": {t.Context(), "/c/x", false},
	} {
		for kind, call := range calls([]byte(c.key), nil) {
			if kind == "delete" || strings.HasPrefix(kind, "deletion") || kind == "comparison" {
				continue
			}
			if err := call(c.ctx, p.conn); (err == nil) != c.may {
				t.Errorf("%s, %s: %v", what, kind, err)
			}
		}
	}
	for what, ctx := range map[string]context.Context{"": t.Context(), "u": known} {
		for _, c := range []*grpc.ClientConn{p.full, p.conn} { // what needs no right needs none here
			_, err := pb.NewClusterClient(c).MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
			if (err == nil) != (what != "") {
				t.Errorf("members, told to %q: %v", what, err)
			}
			_, err = pb.NewMaintenanceClient(c).Status(ctx, &pb.StatusRequest{})
			if (err == nil) != (what != "") {
				t.Errorf("status, told to %q: %v", what, err)
			}
		}
	}
}

func permission(key, end string) *authpb.Permission {
	return &authpb.Permission{PermType: authpb.Permission_READ, Key: []byte(key), RangeEnd: []byte(end)}
}
