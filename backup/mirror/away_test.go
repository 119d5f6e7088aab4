package mirror_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mimir-kv/mimir/backup/mirror"
	"github.com/mimir-kv/mimir/backup/sides"
)

// goesAway has the fleet answer the mirror nothing while away is true, and counts questions about leases.
func (w *world) goesAway() (away *atomic.Bool, asked *atomic.Int64) {
	away, asked = new(atomic.Bool), new(atomic.Int64)
	w.options.From = through(w.fleet.Endpoints()[0], func(method string, _ any, call func() error) error {
		if away.Load() {
			return errors.New("the fleet is away")
		}
		if method == "LeaseTimeToLive" {
			asked.Add(1)
		}
		return call()
	})
	return away, asked
}

// While the fleet does not answer, as in a failover, leases are kept alive.
func TestLeasesAreKeptAliveWithoutTheFleet(t *testing.T) {
	w := newWorld(t)
	w.put("brief", "1", clientv3.WithLease(w.brief()))
	away, _ := w.goesAway()
	var dialed, kept atomic.Int64
	w.options.To = streams(w.etcd.Endpoints()[0], &dialed, &kept)
	end := w.begin()
	w.settled()
	away.Store(true)
	w.await("it is told", func() bool { return w.told("the fleet is away") })
	before := kept.Load()
	w.await("leases are kept alive", func() bool { return kept.Load() > before })
	away.Store(false)
	w.put("k", "1")
	w.settled()
	w.stop(end)
}

// Leases that were kept alive while the fleet did not answer are known when it answers again: nothing is asked about
// them. One that has ended in the etcd meanwhile comes back.
func TestLeasesAreKnownWhenTheFleetIsBack(t *testing.T) {
	for _, ends := range []bool{false, true} {
		w := newWorld(t)
		w.put("k", "1", clientv3.WithLease(w.grant()))
		away, asked := w.goesAway()
		end := w.begin()
		w.settled()
		away.Store(true)
		w.await("it is told", func() bool { return w.told("the fleet is away") })
		known := asked.Load()
		if ends {
			w.endThere()
		}
		away.Store(false)
		w.put("other", "1")
		w.settled()
		w.stop(end)
		if ends != (asked.Load() > known) {
			t.Errorf("ended %t: %d questions", ends, asked.Load()-known)
		}
	}
}

// Leases are kept alive before it is asked which of them keys are under, and before both are compared: with many that
// takes longer than they live.
func TestLeasesAreKeptAliveBeforeTheyAreAskedAbout(t *testing.T) {
	for _, compares := range []bool{false, true} {
		w := newWorld(t)
		w.put("k", "1", clientv3.WithLease(w.grant()))
		end := w.begin()
		w.settled()
		w.stop(end)
		if compares {
			w.changePlace(`"revision":`, `"comparing":true,"revision":`)
		}
		var dialed, kept, asked atomic.Int64
		w.options.To = streams(w.etcd.Endpoints()[0], &dialed, &kept)
		w.options.From = through(w.fleet.Endpoints()[0], func(method string, request any, call func() error) error {
			if (method == "LeaseTimeToLive" || isPage(request)) && asked.Add(1) == 1 && kept.Load() == 0 {
				t.Errorf("it was asked before; compares: %t", compares)
			}
			return call()
		})
		end = w.begin()
		w.put("k", "2")
		w.settled()
		w.stop(end)
		if asked.Load() == 0 {
			t.Error("nothing was asked")
		}
	}
}

// Who was overtaken while his fleet does not answer ends all the same, and with that keeps no lease alive any more: his
// connection to the etcd is closed.
func TestAMirrorWithoutItsFleetFindsOut(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1")
	later := w.options
	away, _ := w.goesAway()
	ended, o := make(chan error, 1), w.options
	var toEtcd []*grpc.ClientConn // by the goroutine of the mirror
	o.To = func(ctx context.Context) (*grpc.ClientConn, error) {
		c, err := later.To(ctx)
		toEtcd = append(toEtcd, c)
		return c, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { ended <- mirror.Run(ctx, o) }()
	w.settled()
	away.Store(true)
	w.await("it is told", func() bool { return w.told("the fleet is away") })
	w.options = later
	end := w.begin()
	if err := <-ended; !errors.Is(err, mirror.ErrOvertaken) {
		t.Error(err)
	}
	for i, c := range toEtcd {
		if c.GetState() != connectivity.Shutdown {
			t.Errorf("connection %d of %d to the etcd is %v", i, len(toEtcd), c.GetState())
		}
	}
	w.stop(end)
}

// Of two mirrors with keys among the same ones that are begun at once the one whose place was made last ends, has
// changed nothing, and leaves no place. The other one goes on, also when it begins anew while that place is there yet.
func TestTwoMirrorsThatAreBegunAtOnce(t *testing.T) {
	for _, other := range []bool{true, false} { // is first
		w := newWorld(t)
		w.options.ToPrefix = "copy/"
		w.put("k", "1")
		theirs := sync.OnceFunc(func() {
			if _, err := w.etcd.Put(t.Context(), "mimir.mirror/place/copy/of/", "{}"); err != nil {
				t.Error(err)
			}
		})
		w.toEtcd(func(method string, _ any, call func() error) error {
			if method != "Txn" {
				return call()
			}
			if other {
				theirs()
			}
			err := call()
			theirs()
			return err
		})
		if !other {
			end := w.begin()
			w.there("copy/k")
			w.stop(end)
			w.put("k2", "1")
			end = w.begin() // what the other one has left ends nothing
			w.there("copy/k2")
			w.stop(end)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err := mirror.Run(ctx, w.options)
		if cancel(); !errors.Is(err, mirror.ErrForeign) || len(contents(t, w.etcd)) > 0 {
			t.Errorf("%v; the etcd has %v", err, contents(t, w.etcd))
		}
		if r, err := w.etcd.Get(t.Context(), "mimir.mirror/place/copy/"); err != nil || len(r.Kvs) > 0 {
			t.Errorf("its place is %v: %v", r.Kvs, err)
		}
	}
}

// silent dials an endpoint of which watches say nothing.
func silent(endpoint string, asked func()) sides.Dial {
	return func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn,
				method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
				s, err := open(ctx, d, conn, method, o...)
				if strings.HasSuffix(method, "Watch") {
					asked()
					return &mute{s}, err
				}
				return s, err
			}))
	}
}

// mute is a stream on which nothing comes.
type mute struct{ grpc.ClientStream }

func (s *mute) RecvMsg(any) error {
	<-s.Context().Done()
	return s.Context().Err()
}

// Who was overtaken while he waits for an endpoint to say what was mirrored last ends, however long that may take.
func TestAMirrorThatComparesItsHistoryFindsOut(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1")
	end := w.begin()
	w.settled()
	w.put("k", "2") // of which the place has the print
	w.settled()
	w.await("the place has it", func() bool {
		r, err := w.etcd.Get(t.Context(), "mimir.mirror/place/")
		return err == nil && len(r.Kvs) == 1 && strings.Contains(string(r.Kvs[0].Value), `"print"`)
	})
	w.stop(end)
	asked, o := make(chan struct{}), w.options
	o.From = silent(w.fleet.Endpoints()[0], sync.OnceFunc(func() { close(asked) }))
	o.Trouble = func(err error) { t.Errorf("it has waited to the end: %v", err) }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- mirror.Run(ctx, o) }()
	<-asked
	end = w.begin()
	if err := <-ended; !errors.Is(err, mirror.ErrOvertaken) {
		t.Error(err)
	}
	w.stop(end)
}
