package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/server/events"
)

// fake is a replicator whose moves are counted and whose tail breaks after `whole` writes if that is not negative.
type fake struct {
	fails int64 // the revision at which a state cannot be read
	moves int
	whole int
	// of a node that waits for others of its region
	formation *replication.Formation
}

func (f *fake) Health() *replication.HealthStatus {
	return &replication.HealthStatus{NodeID: "us-1", Region: "us"}
}

func (f *fake) Fleet(context.Context) *replication.FleetStatus {
	return &replication.FleetStatus{Fleet: "test", Primary: "us"}
}

func (f *fake) Switchover(_ context.Context, to string) (*replication.MoveReport, error) {
	f.moves++
	if to == "mars" {
		return nil, fmt.Errorf("%w: %q", replication.ErrUnknownRegion, to)
	}
	return &replication.MoveReport{To: to, Epoch: 2}, nil
}

func (f *fake) AbortSwitchover(context.Context) (replication.Position, error) {
	if f.moves > 0 {
		return 0, fmt.Errorf("%w: region eu has begun epoch 2", replication.ErrAlreadyBegun)
	}
	return 7, nil
}

func (f *fake) FormRegion(context.Context) (*replication.Formation, error) { return f.formation, nil }

func (f *fake) Found(_ context.Context, primary string) (*replication.Reign, error) {
	return &replication.Reign{Epoch: 1, Primary: primary}, nil
}

func (f *fake) FailoverWithin(_ context.Context, to string, accept uint64) (*replication.MoveReport, error) {
	return &replication.MoveReport{To: to, Lossy: true, Behind: accept}, nil
}

func (f *fake) FailoverAt(_ context.Context, to string, at replication.Point) (*replication.MoveReport, error) {
	return &replication.MoveReport{To: to, Lossy: true, Position: at.Position}, nil
}

func (f *fake) Failover(_ context.Context, to string, force bool) (*replication.MoveReport, error) {
	f.moves++
	if !force {
		return nil, replication.ErrNeedsForce
	}
	return &replication.MoveReport{To: to, Lossy: true}, nil
}

func (f *fake) Tails(context.Context) ([]replication.TailInfo, error) {
	t := replication.TailInfo{Name: "t"}
	t.Fork = 7
	return []replication.TailInfo{t}, nil
}

func (f *fake) ReadTail(
	_ context.Context, name string, visit func(replication.Epoch, replication.Position, replication.Command) error,
) error {
	if name != "t" {
		return replication.ErrTailNotFound
	}
	put := command.EncodePut(&pb.PutRequest{Key: []byte("k"), Value: make([]byte, 1000)})
	for i := range 100 {
		if i == f.whole {
			return replication.ErrTailDamaged
		}
		if err := visit(1, replication.Position(i+1), replication.Command{Data: put}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) TailState(_ context.Context, name string) (string, *replication.TailState, error) {
	if name != "t" {
		return "", nil, replication.ErrTailNotFound
	}
	return "dir", &replication.TailState{Position: 9}, nil
}

// TailReigns has one reign that both histories share, one of the tail's own, and the one that outranked it.
func (f *fake) TailReigns(_ context.Context, name string) (lost, today []replication.Reign, err error) {
	if name != "t" {
		return nil, nil, replication.ErrTailNotFound
	}
	shared := replication.Reign{Epoch: 2, First: 8, Lossy: true}
	own := replication.Reign{Epoch: 3, First: 8, Lossy: true, Place: 2, Nonce: [16]byte{7}}
	return []replication.Reign{shared, own},
		[]replication.Reign{
			{Epoch: 1, First: 1}, shared, {Epoch: 4, First: 8, Lossy: f.whole != 0}, {Epoch: 5, First: 9},
		}, nil
}

func (f *fake) DiscardTail(_ context.Context, name string) error {
	if name != "t" {
		return replication.ErrTailNotFound
	}
	f.moves++
	return nil
}

// fakeState is a state with the revisions 3 to 5, which fails at the revision fails.
type fakeState struct{ fails int64 }

func (f fakeState) Digest(_ context.Context, q mvcc.Asked, part func(mvcc.Part) bool) error {
	if q.Compact < f.fails {
		return command.ErrCompacted
	}
	part(mvcc.Part{From: q.From, To: q.To, Keys: 3})
	return nil
}

func (f fakeState) Open(string) (State, error) { return f, nil }
func (f fakeState) ForkBefore(int64) int64     { return 3 }
func (f fakeState) Revision() int64            { return 5 }
func (f fakeState) Auth() *auth.State          { return auth.New() }

func (f fakeState) Attached(int64, func(key []byte) error) error { return nil }
func (f fakeState) Same(context.Context, string, int64) (bool, error) {
	return true, nil
}
func (f fakeState) Parting(today []replication.Reign, at int) kv.Parting {
	return kv.Parting{Revision: int64(today[at].Epoch), Base: 1 << 60, Readable: 2}
}

func (f fakeState) First(after int64) int64 { return after + 1 }
func (f fakeState) Close() error            { return nil }
func (f fakeState) Each(after int64, visit func(*mvccpb.Event) error) error {
	for r := after + 1; r <= 5; r++ {
		if r == f.fails {
			return errors.New("the disk cannot be read")
		}
		if err := visit(&mvccpb.Event{Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: r}}); err != nil {
			return err
		}
	}
	return nil
}

// serve returns a client of a fake node, behind the given endpoints that are tried first.
func serve(t *testing.T, f *fake, before ...string) *Client {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	log := events.Open(events.Options{
		FS: pebblefs.New(vfs.NewMem()), Dir: "/", Node: "us-1", Region: "us", Logger: quiet,
	})
	t.Cleanup(func() { log.Close() })
	h := NewHandler(HandlerOptions{
		Replicator: f, Logger: quiet, States: fakeState{f.fails}, Events: log,
		Node:  func() Node { return Node{HealthStatus: f.Health(), Revision: 7} },
		Guard: func(_ string, h http.Handler) http.Handler { return h },
	})
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := NewClient(append(before, s.URL), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestCalls(t *testing.T) {
	f := &fake{whole: -1}
	c := serve(t, f, "127.0.0.1:1")
	ctx := t.Context()
	if n, err := c.Node(ctx); err != nil || n.NodeID != "us-1" || n.Revision != 7 {
		t.Errorf("node: %+v, %v", n, err)
	}
	if s, err := c.Fleet(ctx); err != nil || s.Primary != "us" {
		t.Errorf("fleet: %+v, %v", s, err)
	}
	if r, err := c.Found(ctx, "us"); err != nil || r.Primary != "us" || r.Epoch != 1 {
		t.Errorf("found: %+v, %v", r, err)
	}
	f.formation = &replication.Formation{Region: "us", Nodes: []string{"us-1", "us-2"}, Left: []string{"us-3"}}
	if r, err := c.Found(ctx, "us"); err != nil || r.Reign != nil || !reflect.DeepEqual(r.Formed, f.formation) {
		t.Errorf("formed: %+v, %v", r, err)
	}
	if a, err := c.AbortSwitchover(ctx); err != nil || a.Position != 7 {
		t.Errorf("abort: %+v, %v", a, err)
	}
	if r, err := c.Switchover(ctx, "eu"); err != nil || r.To != "eu" || r.Epoch != 2 {
		t.Errorf("switchover: %+v, %v", r, err)
	}
	var refused *Error
	if _, err := c.AbortSwitchover(ctx); !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("abort of what is over: %v", err)
	}
	if _, err := c.Switchover(ctx, "mars"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound ||
		!strings.Contains(refused.Text, "mars") {
		t.Errorf("unknown region: %v", err)
	}
	if _, err := c.Failover(ctx, "eu", false); !errors.As(err, &refused) || refused.Status != http.StatusConflict {
		t.Errorf("failover without force: %v", err)
	}
	if r, err := c.FailoverWithin(ctx, "eu", 7); err != nil || r.Behind != 7 {
		t.Errorf("failover within 7: %+v, %v", r, err)
	}
	if r, err := c.Failover(ctx, "eu", true); err != nil || !r.Lossy {
		t.Errorf("failover: %+v, %v", r, err)
	}
	if _, err := c.Switchover(ctx, ""); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
		t.Errorf("no region: %v", err)
	}
	if f.moves != 4 {
		t.Errorf("%d moves reached the replicator, want 4", f.moves)
	}
}

// A move whose outcome is not known is never sent to another node.
func TestMoveIsNotRepeated(t *testing.T) {
	dies := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "{}")
	}))
	defer dies.Close()
	f := &fake{}
	if _, err := serve(t, f, dies.URL).Switchover(t.Context(), "eu"); err == nil ||
		!strings.Contains(err.Error(), "did not say how it ended") {
		t.Errorf("got %v", err)
	}
	if f.moves != 0 {
		t.Error("the move was sent a second time")
	}
}

func TestReadState(t *testing.T) {
	var header *StateHeader
	var got []string
	begin := func(h *StateHeader) error { header = h; return nil }
	visit := func(c Change) error { got = append(got, string(c)); return nil }
	if err := serve(t, &fake{}).ReadState(t.Context(), "t", -1, begin, visit); err != nil {
		t.Fatal(err)
	}
	if header.Position != 9 || header.Fork != 3 || header.First != 4 || header.Revision != 5 || len(got) != 2 ||
		!strings.Contains(got[0], `"mod_revision":"4"`) || !strings.Contains(got[0], `"type":"PUT"`) {
		t.Errorf("%+v, %s", header, got)
	}
	got = nil
	if err := serve(t, &fake{}).ReadState(t.Context(), "t", 0, begin, visit); err != nil || len(got) != 5 {
		t.Errorf("%s, %v", got, err)
	}
	if err := serve(t, &fake{fails: 5}).ReadState(t.Context(), "t", 0, begin, visit); err == nil {
		t.Error("a state that was cut short passes for a whole one")
	}
	if err := serve(t, &fake{}).ReadState(t.Context(), "none", 0, begin, visit); err == nil {
		t.Error("a state that is not there was read")
	}
}

func TestReadTail(t *testing.T) {
	count := 0
	visit := func(w *Write) error {
		count++
		if w.Op != "put" || w.Position != replication.Position(count) {
			t.Errorf("got %+v", w)
		}
		return nil
	}
	if err := serve(t, &fake{whole: -1}).ReadTail(t.Context(), "t", visit); err != nil || count != 100 {
		t.Errorf("%d writes, %v", count, err)
	}
	for _, whole := range []int{0, 1, 50, 99} {
		count = 0
		if err := serve(t, &fake{whole: whole}).ReadTail(t.Context(), "t", visit); err == nil {
			t.Errorf("a tail damaged after %d writes was taken for a whole one of %d", whole, count)
		}
	}
	if err := serve(t, &fake{}).ReadTail(t.Context(), "none", visit); err == nil ||
		!strings.Contains(err.Error(), "no such tail") {
		t.Errorf("got %v", err)
	}
	enough := errors.New("enough")
	if err := serve(t, &fake{whole: -1}).ReadTail(t.Context(), "t", func(*Write) error {
		return enough
	}); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

// An expiry is shown as one: it is nobody's request, and is not to be replayed.
func TestAnExpiryIsNoRequest(t *testing.T) {
	for _, c := range []struct {
		data []byte
		op   string
	}{
		{command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: 7}), "lease-revoke"},
		{command.EncodeLeaseExpiry(7, command.Alone), "lease-expiry"},
		{command.EncodeLeaseExpiry(7, command.GoesOn), "lease-expiry"},
	} {
		w, err := describe(1, 2, c.data)
		if err != nil || w.Op != c.op || strings.ReplaceAll(string(w.Request), " ", "") != `{"ID":"7"}` {
			t.Errorf("%+v, %v", w, err)
		}
	}
	mark := []byte{0xc0, 0x3e, 0x01} // as the last bytes of a value it says nothing
	asked := command.EncodeTxn(&pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{
		RequestPut: &pb.PutRequest{Key: []byte("k"), Value: mark},
	}}}})
	part := command.EncodeLeaseExpiryPart(7, [][]byte{[]byte("k")}, command.Begins)
	for op, data := range map[string][]byte{"lease-expiry-part": part, "txn": asked} {
		if w, err := describe(1, 2, data); err != nil || w.Op != op {
			t.Errorf("%+v, %v, want %s", w, err, op)
		}
	}
}

// TestAForkIsWhereTheHistoriesPart: what both have just after the fork's position is no part of the tail.
func TestAForkIsWhereTheHistoriesPart(t *testing.T) {
	c := serve(t, &fake{whole: -1})
	f, err := c.TailFork(t.Context(), "t")
	if err != nil || f.Position != 7 || f.Revision != 4 || f.Base != 1<<60 || f.Readable != 2 || f.Unknown != "" ||
		len(f.Jumps) != 1 || f.Jumps[0].Epoch != 3 || f.Jumps[0].First != 8 || f.Jumps[0].Nonce[0] != 7 {
		t.Errorf("%+v, %v", f, err)
	}
	var refused *Error
	if _, err := c.TailFork(t.Context(), "x"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("of no tail: %v", err)
	}
	f, err = serve(t, &fake{whole: 0}).TailFork(t.Context(), "t")
	if err != nil || f.Revision != 0 || !strings.Contains(f.Unknown, "epoch 4") {
		t.Errorf("a reign that left no mark: %+v, %v", f, err)
	}
}

func TestDiscard(t *testing.T) {
	f := &fake{}
	c := serve(t, f)
	if err := c.DiscardTail(t.Context(), "t"); err != nil || f.moves != 1 {
		t.Errorf("%v, %d", err, f.moves)
	}
	var refused *Error
	if err := c.DiscardTail(t.Context(), "x"); !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		t.Errorf("of no tail: %v", err)
	}
}

// An endpoint that stands still costs moments, whatever is asked: another answers.
func TestAnEndpointThatStandsStillIsPassedOver(t *testing.T) {
	bound, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer bound.Close()
	f := &fake{whole: -1}
	c := serve(t, f, "127.0.0.1:1", bound.Addr().String())
	c.answer = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Fleet(ctx); err != nil {
		t.Error(err)
	}
	if _, err := c.Switchover(ctx, "eu"); err != nil || f.moves != 1 {
		t.Errorf("%d moves, %v", f.moves, err)
	}
	if err := c.ReadTail(ctx, "t", func(*Write) error { return nil }); err != nil {
		t.Error(err)
	}
	f.whole = 1 // breaks, and no other has it
	if err := c.ReadTail(ctx, "t", func(*Write) error { return nil }); err == nil || ctx.Err() != nil {
		t.Error(err)
	}
}

// Where all stand still nobody waits for one after the other as long as for an answer.
func TestAllThatStandStillAreGivenUpTogether(t *testing.T) {
	var endpoints []string
	for range 3 {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		endpoints = append(endpoints, silent.Addr().String())
	}
	c, err := NewClient(endpoints, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.answer = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = c.Fleet(ctx)
	if !errors.Is(err, ErrNoEndpoint) {
		t.Fatal(err)
	}
	for _, e := range endpoints {
		if !strings.Contains(err.Error(), e) {
			t.Errorf("%v does not name %s", err, e)
		}
	}
}

// Who waits no longer is told for whom he waited.
func TestWhoWasSilentIsNamed(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, err := NewClient([]string{silent.Addr().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	want := "http://" + silent.Addr().String() + " had not answered"
	if _, err := c.Fleet(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestTailsMayTakeLong: a node reads them whole to tell of them, and there may be many gigabytes.
func TestTailsMayTakeLong(t *testing.T) {
	c := serve(t, &fake{whole: -1})
	c.answer = 1 // nanosecond
	if _, err := c.Node(t.Context()); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("a question that is answered too late: %v", err)
	}
	_, listed := c.Tails(t.Context())
	_, found := c.TailFork(t.Context(), "t")
	if err := errors.Join(listed, found); err != nil {
		t.Error(err)
	}
}

// A token is shown to the nodes that are asked, and not in plaintext by a client that was given TLS.
func TestATokenIsShown(t *testing.T) {
	var shown []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("Authorization"))
		io.WriteString(w, `{}`) //nolint:errcheck // a test
	}))
	defer s.Close()
	for _, secure := range []*tls.Config{nil, {MinVersion: tls.VersionTLS12}} {
		c, err := NewClient([]string{s.URL}, secure)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, client := range []*Client{c, c.WithToken("geheim"), c.WithToken("geheim").At(s.URL)} {
			if _, err := client.Node(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{"", "Bearer geheim", "Bearer geheim", "", "", ""}
	if !slices.Equal(shown, want) {
		t.Errorf("shown: %q", shown)
	}
}
