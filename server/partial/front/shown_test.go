package front

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within ", hang, ": ", what)
		}
	}
}

// On a stream of watches that was begun before, none begins while nothing is shown: it would tell what a failover cut
// off.
func TestNoWatchBeginsWhereNothingIsShown(t *testing.T) {
	p := start(t)
	p.put(p.full, "/a/x", "1")
	if _, err := p.ask(t.Context(), "/a/x", false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	w, err := pb.NewWatchClient(p.conn).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	create := func(key string, id, from int64) {
		r := &pb.WatchCreateRequest{Key: []byte(key), WatchId: id, StartRevision: from}
		err := w.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: r}})
		if err != nil {
			t.Fatal(err)
		}
	}
	create("/a/x", 1, 0)
	if answer, err := w.Recv(); err != nil || !answer.Created {
		t.Fatal(answer, err)
	}
	p.lose("/a/lost")
	create("/a/lost", 2, p.sink.Place.Store().Revision())
	for {
		answer, err := w.Recv()
		if status.Code(err) == codes.Unavailable {
			return
		}
		if err != nil || answer.WatchId == 2 {
			t.Fatalf("%v, %v", answer, err)
		}
	}
}

// lose has the partial region hold a key that a failover cut off, and come to know that.
func (p *pair) lose(key string) {
	p.t.Helper()
	not := errors.New("not now")
	p.unfit.Store(&not)
	until(p.t, "it follows nobody", func() bool { return !p.sink.Connected() })
	store := p.sink.Place.Store()
	at := store.Revision() + 1
	lost := kv.Change{Key: []byte(key), Version: mvcc.Version{Stamp: mvcc.Stamp{Main: at}, Kind: mvcc.KindPut,
		Create: at, Number: 1}}
	err := kv.Accept(store, mvcc.State{Revision: at, Compact: store.CompactRevision()}, []kv.Change{lost})
	if err != nil {
		p.t.Fatal(err)
	}
	p.fleet.FailOver(p.t, 2, 1)
	p.put(p.full, "/a/x", "2")
	p.locked.Store(true)
	p.unfit.Store(nil)
	until(p.t, "it shows nothing", func() bool { return !p.sink.Standing().Shows })
}
