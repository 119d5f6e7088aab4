package partial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// hang bounds what is waited for: only a hang reaches it.
const hang = 2 * time.Minute

// whole is a node of a full region.
type whole struct {
	*etcdapitest.Node
	*Source
	t       *testing.T
	addr    string
	server  *grpc.Server
	options []grpc.ServerOption
	mu      sync.Mutex
	barrier error
	unfit   error
	looked  atomic.Pointer[func()] // called when it is looked whether it may be followed
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// startWhole starts one at which region edge may follow /a/ and /c/.
func startWhole(t *testing.T, name string) *whole {
	t.Helper()
	file := filepath.Join(t.TempDir(), "partial")
	if err := os.WriteFile(file, []byte("edge "+secret+" /a/ /c/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	regions, err := OpenRegions(file, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &whole{Node: etcdapitest.Start(t, etcdapi.Limits{}), t: t}
	w.Source = NewSource(SourceConfig{Store: w.Node.Store, Regions: regions, Fleet: "f", Region: "us", Node: name,
		Barrier: func(context.Context) error { return w.says(&w.barrier) },
		Fit: func() error {
			if f := w.looked.Load(); f != nil {
				(*f)()
			}
			return w.says(&w.unfit)
		}, Logger: logger(t)})
	w.serve("127.0.0.1:0")
	t.Cleanup(w.stop)
	return w
}

func (w *whole) says(what *error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *what
}

func (w *whole) say(what *error, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*what = err
}

func (w *whole) serve(at string) {
	w.t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		w.t.Fatal(err)
	}
	w.addr, w.server = l.Addr().String(), grpc.NewServer(append(w.options, grpc.WaitForHandlers(true))...)
	w.Source.Register(w.server)
	go w.server.Serve(l) //nolint:errcheck // ends with stop
}

func (w *whole) stop() { w.server.Stop() }

// write applies commands.
func (w *whole) write(commands ...[]byte) {
	w.t.Helper()
	var list []*replication.Command
	for _, c := range commands {
		list = append(list, &replication.Command{Data: c})
	}
	if _, err := w.Replicator.Propose(w.t.Context(), list); err != nil {
		w.t.Fatal(err)
	}
}

func put(key, value string) []byte {
	return command.EncodePut(&pb.PutRequest{Key: []byte(key), Value: []byte(value)})
}

func remove(key string) []byte {
	return command.EncodeDeleteRange(&pb.DeleteRangeRequest{Key: []byte(key)})
}

// edge is a node of a partial region.
type edge struct {
	*Sink
	t    *testing.T
	dir  string
	stop func()
}

// startEdge starts one that follows /a/ and /c/ of these.
func startEdge(t *testing.T, dir string, from ...string) *edge {
	t.Helper()
	return startEdgeWith(t, dir, func(*Sink) {}, from...)
}

// startEdgeWith starts one that is changed before.
func startEdgeWith(t *testing.T, dir string, change func(*Sink), from ...string) *edge {
	t.Helper()
	links, err := Dial(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	place, err := OpenPlace(PlaceOptions{Dir: dir, Fleet: "f", Region: "edge", Prefixes: prefixes(t, "/a/", "/c/"),
		Store: kv.Options{CacheBytes: 1 << 20, Logger: logger(t)}})
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{t: t, dir: dir, Sink: NewSink(SinkConfig{Place: place, Links: links, Node: "e1", Logger: logger(t),
		Secret: func() (string, error) { return secret, nil }})}
	change(e.Sink)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.Run(ctx)
	}()
	e.stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		if err := errors.Join(place.Close(), links.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(e.stop)
	return e
}

// until waits until something is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within ", hang, ": ", what)
		}
	}
}

// holds waits until an edge shows what a whole holds, and compares both.
func (e *edge) holds(w *whole) {
	e.t.Helper()
	at := w.Node.Store.Revision()
	until(e.t, fmt.Sprint("revision ", at), func() bool {
		s := e.Standing()
		return s.Shows && s.Revision >= at
	})
	spans := e.Prefixes().Spans()
	want, n, err := sumsOf(e.t.Context(), w.Node.Store, spans, at)
	if err != nil {
		e.t.Fatal(err)
	}
	got, m, err := sumsOf(e.t.Context(), e.Place.Store(), spans, at)
	if err != nil {
		e.t.Fatal(err)
	}
	if n != m || !bytes.Equal(bytes.Join(got, nil), bytes.Join(want, nil)) {
		e.t.Fatalf("it holds %d keys, and %d are there: %x, %x", m, n, got, want)
	}
	all, err := e.Place.Store().Range(e.t.Context(), &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}})
	if err != nil {
		e.t.Fatal(err)
	}
	for _, one := range all.Kvs {
		if !e.Prefixes().Hold(one.Key, nil) {
			e.t.Fatalf("it holds %s", one.Key)
		}
	}
}

// It takes a copy, follows, and goes on where it was: at the same node, at another one, and after both ends were
// started anew.
func TestItFollows(t *testing.T) {
	w, dir := startWhole(t, "us-1"), t.TempDir()
	w.write(put("/a/x", "1"), put("/b/x", "outside"), put("/c/x", "1"), put("/a/gone", "1"), remove("/a/gone"))
	e := startEdge(t, dir, w.addr)
	e.holds(w)
	for i := range 100 {
		w.write(put(fmt.Sprint("/a/", i), "1"), put(fmt.Sprint("/b/", i), "outside"), remove(fmt.Sprint("/a/", i-3)))
	}
	e.holds(w)
	if s := e.Standing(); s.Copies != 1 || s.Source != "us-1" || s.LagSeconds < 0 && s.Sessions != 1 {
		t.Errorf("%+v", s)
	}
	until(t, "the source knows how far it is", func() bool {
		r := w.Report()
		return len(r) == 1 && len(r[0].Nodes) == 1 && r[0].Nodes[0].Revision == w.Node.Store.Revision() &&
			r[0].Nodes[0].Behind == 0 && r[0].Nodes[0].LagSeconds >= 0
	})
	until(t, "it knows how far it is", func() bool { return e.Standing().LagSeconds >= 0 })
	until(t, "it was compared", func() bool { return !e.Standing().Compared.IsZero() })
	addr := w.addr
	w.stop()
	until(t, "it follows nobody", func() bool { return !e.Connected() })
	w.write(put("/a/cut", "1"), put("/b/cut", "outside"))
	w.serve(addr)
	e.holds(w)
	e.stop()
	w.write(put("/c/away", "1"))
	e = startEdge(t, dir, w.addr)
	if !e.Standing().Shows {
		t.Error("after a stop in good order it does not show what it holds")
	}
	e.holds(w)
	if s := e.Standing(); s.Copies != 0 {
		t.Errorf("it took %d copies", s.Copies)
	}
}

// A node of a version that knows no partial regions is passed over.
func TestANodeOfAVersionBeforeIsPassedOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	before := grpc.NewServer()
	go before.Serve(l) //nolint:errcheck // ends with Stop
	defer before.Stop()
	w := startWhole(t, "us-1")
	w.write(put("/a/x", "1"))
	startEdge(t, t.TempDir(), l.Addr().String(), w.addr).holds(w)
}

// What a failover cut off goes, and what is there in its place comes: by a copy.
func TestAHistoryThatPartedIsCopiedAnew(t *testing.T) {
	old, next := startWhole(t, "us-1"), startWhole(t, "eu-1")
	for _, w := range []*whole{old, next} {
		w.write(put("/a/x", "1"), put("/b/x", "outside"))
	}
	old.write(put("/a/x", "lost"), put("/a/lost", "1"))
	e := startEdge(t, t.TempDir(), old.addr, next.addr)
	e.holds(old)
	next.FailOver(t, 2, 1)
	next.write(put("/a/x", "2"), put("/b/y", "outside"))
	old.stop()
	e.holds(next)
	if s := e.Standing(); s.Copies != 2 {
		t.Errorf("it took %d copies", s.Copies)
	}
	r, err := e.Place.Store().Range(t.Context(), &pb.RangeRequest{Key: []byte("/a/lost")})
	if err != nil || len(r.Kvs) > 0 {
		t.Errorf("what was lost is there: %v, %v", r, err)
	}
}

// A node that knows nothing of the failover is followed no more, whatever it holds.
func TestAnOlderHistoryIsNotFollowed(t *testing.T) {
	old, next := startWhole(t, "us-1"), startWhole(t, "eu-1")
	for _, w := range []*whole{old, next} {
		w.write(put("/a/x", "1"))
	}
	next.FailOver(t, 2, 1)
	next.write(put("/a/x", "2"))
	e := startEdge(t, t.TempDir(), next.addr, old.addr)
	e.holds(next)
	next.say(&next.unfit, errors.New("not now"))
	until(t, "the old one was asked", func() bool { return e.Standing().Endpoint == old.addr })
	next.say(&next.unfit, nil)
	next.write(put("/a/y", "1"))
	e.holds(next)
	if s := e.Standing(); s.Copies != 1 {
		t.Errorf("it took %d copies", s.Copies)
	}
}

// What differs is found by sums, twice, and copied anew.
func TestWhatDiffersIsCopiedAnew(t *testing.T) {
	wrong, right := startWhole(t, "us-1"), startWhole(t, "us-2")
	wrong.write(put("/a/x", "a bit"))
	right.write(put("/a/x", "no bit"))
	e := startEdge(t, t.TempDir(), wrong.addr, right.addr)
	e.holds(wrong)
	until(t, "it was compared", func() bool { return !e.Standing().Compared.IsZero() })
	wrong.stop()
	until(t, "it follows the other one", func() bool { return e.Standing().Source == "us-2" })
	e.mu.Lock()
	e.compared = time.Time{} // it is time again
	e.mu.Unlock()
	until(t, "it was copied anew", func() bool { return e.Standing().Copies == 2 })
	e.holds(right)
	if s := e.Standing(); s.Differed != 2 {
		t.Errorf("it differed %d times", s.Differed)
	}
}

// Who is not in the file, or is not any more, follows nothing; and a node that is not fit is not followed.
func TestWhoMayNotFollowDoesNot(t *testing.T) {
	w := startWhole(t, "us-1")
	w.write(put("/a/x", "1"))
	w.say(&w.unfit, errors.New("it holds something else"))
	e := startEdge(t, t.TempDir(), w.addr)
	until(t, "it is told why", func() bool {
		return bytes.Contains([]byte(e.Standing().Problem), []byte("something else"))
	})
	w.say(&w.unfit, nil)
	e.holds(w)
	if err := os.WriteFile(w.Regions.file, []byte("# nobody\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it is refused", func() bool {
		w.write(put("/a/x", "1"))
		return bytes.Contains([]byte(e.Standing().Problem), []byte("no partial region of that name"))
	})
}

// recorder is a way to a node that keeps what comes back from it.
type recorder struct {
	net.Listener
	to string
	mu sync.Mutex
	in bytes.Buffer
}

func record(t *testing.T, to string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{Listener: l, to: to}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.carry(c)
		}
	}()
	return r
}

func (r *recorder) carry(c net.Conn) {
	defer c.Close()
	to, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		defer to.Close()
		copyAll(to, c, nil)
	}()
	copyAll(c, to, r)
}

func copyAll(to, from net.Conn, r *recorder) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if r != nil {
			r.mu.Lock()
			r.in.Write(buffer[:n])
			r.mu.Unlock()
		}
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

// leaks returns where a text is: on the wire, or in a file.
func leaks(t *testing.T, r *recorder, dir, text string) (where []string) {
	t.Helper()
	r.mu.Lock()
	if bytes.Contains(r.in.Bytes(), []byte(text)) {
		where = append(where, "the wire")
	}
	r.mu.Unlock()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			where = append(where, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return where
}

// Nothing of other keys is on the wire or on the disk, neither names nor values, in copies or in what follows.
func TestNothingElseLeaves(t *testing.T) {
	w, dir := startWhole(t, "us-1"), t.TempDir()
	r := record(t, w.addr)
	both := func(i int) []byte {
		return command.EncodeTxn(&pb.TxnRequest{Success: []*pb.RequestOp{
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: fmt.Appendf(nil, "/a/inner%d", i),
				Value: []byte("VALUEWITHIN")}}},
			{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: fmt.Appendf(nil, "/b/NAMEOUTSIDE%d", i),
				Value: []byte("VALUEOUTSIDE")}}},
		}})
	}
	for i := range 20 {
		w.write(both(i))
	}
	e := startEdge(t, dir, r.Addr().String())
	e.holds(w)
	for i := range 20 {
		w.write(both(i), put("/A/NAMEOUTSIDE", "VALUEOUTSIDE"), remove("/b/NAMEOUTSIDE1"))
	}
	e.holds(w)
	e.stop()
	if where := leaks(t, r, dir, "VALUEWITHIN"); len(where) < 2 {
		t.Errorf("what is followed is found only at %s: leaks would not be found", where)
	}
	for _, text := range []string{"NAMEOUTSIDE", "VALUEOUTSIDE"} {
		if where := leaks(t, r, dir, text); len(where) > 0 {
			t.Errorf("%s is at %s", text, where)
		}
	}
}

// A directory is of one region, with one list of prefixes, and of no node of a fleet.
func TestADirectoryFollowsOneThing(t *testing.T) {
	dir := t.TempDir()
	o := PlaceOptions{Dir: dir, Fleet: "f", Region: "edge", Prefixes: prefixes(t, "/a/"),
		Store: kv.Options{CacheBytes: 1 << 20, Logger: logger(t)}}
	open := func(o PlaceOptions) error {
		p, err := OpenPlace(o)
		if err == nil {
			err = p.Close()
		}
		return err
	}
	if err := open(o); err != nil {
		t.Fatal(err)
	}
	others, another, renamed := o, o, o
	others.Prefixes, another.Fleet, renamed.Region = prefixes(t, "/a/", "/b/"), "g", "shop"
	for _, o := range []PlaceOptions{others, another, renamed} {
		if err := open(o); !errors.Is(err, replication.ErrIdentity) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := open(o); err != nil {
		t.Error(err)
	}
	o.Dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(o.Dir, "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := open(o); !errors.Is(err, replication.ErrIdentity) {
		t.Errorf("that of a node: %v", err)
	}
}
