package compat

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/etcdapi/etcdapitest"
)

var (
	endpointsFlag = flag.String("mimir-endpoints", "",
		"client endpoints of an empty Mimir fleet, separated by commas; default: a node in this process")
	seedFlag  = flag.Uint64("compat-seed", 0, "run this one seed")
	seedsFlag = flag.Int("compat-seeds", 6, "how many seeds to run")
	stepsFlag = flag.Int("compat-steps", 600, "requests of each seed")
)

// TestDifferential sends equal random sequences of requests to a real etcd and to Mimir.
func TestDifferential(t *testing.T) {
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			newDuel(t, seed).run(*stepsFlag)
		})
	}
}

// seeds are those to run.
func seeds() []uint64 {
	seeds := make([]uint64, 0, *seedsFlag)
	for i := range *seedsFlag {
		seeds = append(seeds, uint64(i+1))
	}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	if *endpointsFlag != "" {
		seeds = seeds[:1] // only the first finds the fleet empty
	}
	return seeds
}

// duel is a run of one seed.
type duel struct {
	*testing.T
	*generator
	etcd    *side
	mimir   []*side // any node is as good as another
	history []string
	live    map[int64]*pb.WatchCreateRequest // watches by ID, equal on both sides

	asker    *tokens        // nil: nobody
	given    *tokens        // by the last request, if it was one to log in
	outcomes map[string]int // by text, "" for what was done
}

func newDuel(t *testing.T, seed uint64) *duel {
	return newDuelWith(t, seed, "simple", etcdapi.Options{})
}

// newDuelWith is newDuel with what clients get that log in, and options of the node in process.
func newDuelWith(t *testing.T, seed uint64, tokens string, o etcdapi.Options) *duel {
	endpoints := strings.Split(*endpointsFlag, ",")
	if *endpointsFlag == "" {
		endpoints = []string{etcdapitest.StartWith(t, o).Endpoint}
	}
	return newDuelAt(t, seed, tokens, endpoints)
}

// newDuelAt is newDuelWith with running nodes.
func newDuelAt(t *testing.T, seed uint64, tokens string, endpoints []string) *duel {
	d := &duel{T: t, generator: newGenerator(seed), live: map[int64]*pb.WatchCreateRequest{},
		outcomes: map[string]int{}}
	d.etcd = dial(t, "etcd", startEtcd(t, tokens))
	for _, e := range endpoints {
		d.mimir = append(d.mimir, dial(t, "mimir "+e, e))
	}
	return d
}

// fatalf fails with the last requests before.
func (d *duel) fatalf(format string, args ...any) {
	d.Helper()
	from := max(len(d.history)-25, 0)
	d.Fatalf("%s\n\nthe last requests:\n%s", fmt.Sprintf(format, args...), strings.Join(d.history[from:], "\n"))
}

func (d *duel) run(steps int) {
	for range steps {
		d.step()
	}
	for range 5 { // so that watches which began in the future have begun
		d.both(&pb.PutRequest{Key: []byte("a/pass")})
	}
	d.settle()
	d.compareWatches()
}

func (d *duel) step() {
	switch n := d.IntN(100); {
	case n < 30:
		d.both(d.put())
	case n < 48:
		d.both(d.rangeRequest())
	case n < 53:
		d.both(stream{d.streamRequest()})
	case n < 61:
		d.both(d.deleteRange())
	case n < 79:
		d.both(d.txn(2))
	case n < 81:
		d.settle()
		d.both(d.compaction())
	case n < 85:
		d.both(d.grant())
	case n < 87:
		d.both(&pb.LeaseRevokeRequest{ID: d.leaseID()})
	case n < 89:
		d.both(&pb.LeaseTimeToLiveRequest{ID: d.leaseID(), Keys: d.oneIn(2)})
	case n < 90:
		d.both(&pb.LeaseLeasesRequest{})
	case n < 92:
		d.both(&pb.LeaseKeepAliveRequest{ID: d.leaseID()})
	case n < 93:
		d.both(d.hash())
	case n < 98:
		d.createWatch(d.watch())
	default:
		d.cancelWatch()
	}
}

// both sends one request to both sides and compares the answers.
func (d *duel) both(request proto.Message) {
	d.Helper()
	node := d.mimir[d.IntN(len(d.mimir))]
	if len(d.mimir) > 1 {
		d.catchUp(node)
	}
	d.history = append(d.history, fmt.Sprintf("%4d  %v: %T %v", len(d.history), d.asker, request, request))
	want, got := d.etcd.do(d.asker.at(d.etcd, d.Context()), request), node.do(d.asker.at(node, d.Context()), request)
	if want.code != got.code || want.text != got.text {
		d.fatalf("different outcome of\n%T %v\netcd:  %s %q %v\n%s: %s %q %v", request, request,
			want.code, want.text, want.response, node.name, got.code, got.text, got.response)
	}
	d.given = given(want, got)
	d.outcomes[want.text]++
	if want.response == nil {
		return
	}
	if !proto.Equal(want.response, got.response) {
		d.fatalf("different response to\n%T %v\netcd:  %v\n%s: %v", request, request,
			want.response, node.name, got.response)
	}
	if h, ok := want.response.(interface{ GetHeader() *pb.ResponseHeader }); ok {
		d.revision = max(d.revision, h.GetHeader().GetRevision())
	}
	if c, ok := request.(*pb.CompactionRequest); ok {
		d.compacted = c.Revision
	}
}

// catchUp makes a node that may be behind others answer as if it were not, whatever it says without asking anybody.
func (d *duel) catchUp(node *side) { node.do(d.Context(), &pb.RangeRequest{Key: []byte("a")}) }

// each calls do for the watch streams of both sides. Watches of Mimir are all on one node.
func (d *duel) each(do func(w *watches) (*pb.WatchResponse, error)) (etcd, mimir *pb.WatchResponse) {
	d.Helper()
	var answers [2]*pb.WatchResponse
	for i, w := range []*watches{d.etcd.watches, d.mimir[0].watches} {
		r, err := do(w)
		if err != nil {
			d.fatalf("%s: %v", w.name, err)
		}
		answers[i] = r
	}
	return answers[0], answers[1]
}

const watchWait = 10 * time.Second

func (d *duel) createWatch(request *pb.WatchCreateRequest) {
	d.Helper()
	if len(d.mimir) > 1 {
		d.catchUp(d.mimir[0]) // otherwise the revision at which the watch begins may differ
	}
	d.history = append(d.history, fmt.Sprintf("%4d  watch %v", len(d.history), request))
	want, got := d.each(func(w *watches) (*pb.WatchResponse, error) {
		if err := w.create(request); err != nil {
			return nil, err
		}
		return w.until(watchWait, func(r *pb.WatchResponse) bool { return r.Created })
	})
	if want == nil || !proto.Equal(want, got) {
		d.fatalf("different answer to the creation of a watch %v\netcd:  %v\nmimir: %v", request, want, got)
	}
	if !want.Canceled {
		d.live[want.WatchId] = request
	}
}

// cancelWatch cancels any watch, also one that is not there. Its events are compared first: what was under way when it
// is cancelled may arrive or not.
func (d *duel) cancelWatch() {
	d.Helper()
	d.settle()
	id := int64(d.IntN(8))
	if d.live[id] == nil {
		d.each(func(w *watches) (*pb.WatchResponse, error) { return nil, w.cancel(id) })
		return
	}
	d.compareWatch(id)
	d.finishCancel(id)
}

func (d *duel) finishCancel(id int64) {
	d.Helper()
	if len(d.mimir) > 1 {
		d.catchUp(d.mimir[0])
	}
	d.history = append(d.history, fmt.Sprintf("%4d  cancel watch %d", len(d.history), id))
	want, got := d.each(func(w *watches) (*pb.WatchResponse, error) {
		if err := w.cancel(id); err != nil {
			return nil, err
		}
		r, err := w.until(watchWait, func(r *pb.WatchResponse) bool {
			return r.WatchId == id && r.Canceled && r.CompactRevision == 0
		})
		delete(w.events, id)
		delete(w.compacted, id)
		return r, err
	})
	if want == nil || !proto.Equal(want, got) {
		d.fatalf("different answer to the cancellation of watch %d\netcd:  %v\nmimir: %v", id, want, got)
	}
	delete(d.live, id)
}

// settle waits until both sides say that all watches have been sent everything. That they say so is itself under test:
// no event may come afterwards.
func (d *duel) settle() {
	d.Helper()
	for _, w := range d.live {
		for w.StartRevision > d.revision { // etcd says nothing before
			d.both(&pb.PutRequest{Key: []byte("a/pass")})
		}
	}
	d.settleSide(d.etcd.watches)
	d.settleSide(d.mimir[0].watches)
}

func (d *duel) settleSide(w *watches) {
	d.Helper()
	deadline := time.Now().Add(watchWait)
	for len(d.live) > 0 {
		if err := w.askProgress(); err != nil {
			d.fatalf("%s: %v", w.name, err)
		}
		settled, err := w.until(150*time.Millisecond, func(r *pb.WatchResponse) bool {
			progress := r.WatchId == -1 && !r.Created && r.Header.Revision >= d.revision
			return progress || r.CompactRevision != 0
		})
		switch {
		case err != nil:
			d.fatalf("%s: %v", w.name, err)
		case settled != nil && settled.CompactRevision == 0:
			if settled.Header.Revision != d.revision {
				d.fatalf("%s: progress is %d at revision %d", w.name, settled.Header.Revision, d.revision)
			}
			return
		case time.Now().After(deadline):
			d.fatalf("%s: watches have not caught up: %v", w.name, d.live)
		}
		d.finishCompacted()
	}
}

// finishCompacted ends the watches that either side says are compacted, which the other must say as well.
func (d *duel) finishCompacted() {
	d.Helper()
	for id := range d.live {
		if d.etcd.watches.compacted[id] == nil && d.mimir[0].watches.compacted[id] == nil {
			continue
		}
		etcd, mimir := d.each(func(w *watches) (*pb.WatchResponse, error) {
			if r := w.compacted[id]; r != nil {
				return r, nil
			}
			return w.until(watchWait, func(r *pb.WatchResponse) bool {
				return r.WatchId == id && r.CompactRevision != 0
			})
		})
		if etcd == nil || !proto.Equal(etcd, mimir) {
			d.fatalf("watch %d is compacted differently\netcd:  %v\nmimir: %v", id, etcd, mimir)
		}
		d.finishCancel(id)
	}
}

func (d *duel) compareWatches() {
	d.Helper()
	for id := range d.live {
		d.compareWatch(id)
	}
}

func (d *duel) compareWatch(id int64) {
	d.Helper()
	if diff := sameEvents(d.etcd.watches.events[id], d.mimir[0].watches.events[id]); diff != "" {
		d.fatalf("watch %d (%v): first is etcd, second is Mimir: %s", id, d.live[id], diff)
	}
}
