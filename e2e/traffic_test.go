package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
)

// The traffic of a campaign: at every node some workers use a few registers, which are new after each fault, and put
// keys of their own in between.
const (
	workersPerNode = 2
	registers      = 4
	trafficTimeout = 5 * time.Second
	trafficPause   = 50 * time.Millisecond
	ownBytes       = 4 << 10 // so many that log and store begin new files
)

// operation is a request to a register, with times since the traffic began.
type operation struct {
	client, at   int // at: the node, where it matters
	key          string
	kind         kind
	old, value   string // a swap puts value if the register holds old; a put puts value
	got          string // what a get, and a swap that was refused, found
	swapped      bool
	unknown      bool  // it ended with an error: it may have been done, or will be
	revision     int64 // of what was written, or of what was found, zero if there was nothing
	began, ended time.Duration
}

type kind string

const (
	get  kind = "get"
	put  kind = "put"
	swap kind = "swap"
)

// traffic is what clients of all nodes do while a campaign goes on.
type traffic struct {
	prefix  string
	began   time.Time
	clients []atomic.Pointer[clientv3.Client] // of each node, in the order of the fleet
	cancel  context.CancelFunc
	workers sync.WaitGroup
	acks    atomic.Int64

	gate sync.RWMutex // held for reading by each request; whoever holds it for writing has silence
	turn int          // of the registers, guarded by gate

	mu      sync.Mutex
	history []operation // since the last turn
	writes  []write
}

// startTraffic begins at all nodes of a fleet. The caller ends it.
func startTraffic(ctx context.Context, nodes []*localfleet.Node, prefix string, seed uint64) (*traffic, error) {
	ctx, cancel := context.WithCancel(ctx)
	t := &traffic{
		prefix: prefix, began: time.Now(), clients: make([]atomic.Pointer[clientv3.Client], len(nodes)), cancel: cancel,
	}
	if err := t.follow(nodes); err != nil {
		t.end()
		return nil, err
	}
	for i := range len(nodes) * workersPerNode {
		t.workers.Go(func() { t.work(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	return t, nil
}

// end stops the traffic. The outcome of what is interrupted is unknown.
func (t *traffic) end() {
	t.cancel()
	t.workers.Wait()
	for i := range t.clients {
		if c := t.clients[i].Swap(nil); c != nil {
			c.Close()
		}
	}
}

// follow gives the workers new clients of the nodes that are elsewhere now. (SetEndpoints of etcd's client races with
// its own connecting.)
func (t *traffic) follow(nodes []*localfleet.Node) error {
	for i, n := range nodes {
		former := t.clients[i].Load()
		if former != nil && former.Endpoints()[0] == n.Config.ListenClient {
			continue
		}
		client, err := connect(n.Config.ListenClient)
		if err != nil {
			return err
		}
		t.clients[i].Store(client)
		if former != nil {
			former.Close()
		}
	}
	return nil
}

func (t *traffic) work(ctx context.Context, id int, rng *rand.Rand) {
	known := map[string]string{}
	for i := 0; ctx.Err() == nil; i++ {
		t.gate.RLock()
		err := t.request(ctx, t.clients[id/workersPerNode].Load(), id, i, rng, known)
		t.gate.RUnlock()
		pause := trafficPause
		if err != nil {
			pause = errorPause
		}
		wait(ctx, pause)
	}
}

// request does one thing and notes what came of it. known is what this worker knows of the registers.
func (t *traffic) request(
	ctx context.Context, client *clientv3.Client, id, i int, rng *rand.Rand, known map[string]string,
) error {
	draw := rng.IntN(10)
	value := fmt.Sprintf("%d-%d", id, i)
	if draw < 2 {
		key := fmt.Sprintf("%sown/%d/%08d", t.prefix, id, i)
		return t.putOwn(ctx, client, key, fmt.Sprintf("%-*s", ownBytes, value))
	}
	key := fmt.Sprintf("%sregister/%d/%d", t.prefix, t.turn, rng.IntN(registers))
	op := operation{client: id, key: key, kind: get, began: time.Since(t.began)}
	switch {
	case draw < 4:
		op.kind, op.value = put, value
	case draw < 7:
		op.kind, op.old, op.value = swap, known[key], value
	}
	err := op.do(ctx, client)
	op.ended, op.unknown = time.Since(t.began), err != nil
	switch {
	case err != nil:
	case op.kind == put || op.swapped:
		known[key] = op.value
		t.acks.Add(1)
	default:
		known[key] = op.got
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.history = append(t.history, op)
	return err
}

// do sends the request and takes the answer into op.
func (op *operation) do(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, trafficTimeout)
	defer cancel()
	switch op.kind {
	case put:
		answer, err := client.Put(ctx, op.key, op.value)
		if err == nil {
			op.revision = answer.Header.Revision
		}
		return err
	case swap:
		holds := clientv3.Compare(clientv3.Value(op.key), "=", op.old)
		if op.old == "" {
			holds = clientv3.Compare(clientv3.CreateRevision(op.key), "=", 0)
		}
		answer, err := client.Txn(ctx).If(holds).Then(clientv3.OpPut(op.key, op.value)).
			Else(clientv3.OpGet(op.key)).Commit()
		if err != nil {
			return err
		}
		if op.swapped = answer.Succeeded; op.swapped {
			op.revision = answer.Header.Revision
			return nil
		}
		for _, kv := range answer.Responses[0].GetResponseRange().Kvs {
			op.got, op.revision = string(kv.Value), kv.ModRevision
		}
		return nil
	default:
		answer, err := client.Get(ctx, op.key)
		if err != nil {
			return err
		}
		for _, kv := range answer.Kvs {
			op.got, op.revision = string(kv.Value), kv.ModRevision
		}
		return nil
	}
}

func (t *traffic) putOwn(ctx context.Context, client *clientv3.Client, key, value string) error {
	one := write{key: key, value: value, began: time.Now()}
	ctx, cancel := context.WithTimeout(ctx, trafficTimeout)
	defer cancel()
	answer, err := client.Put(ctx, key, value)
	one.ended, one.err = time.Now(), err
	if err == nil {
		one.revision = answer.Header.Revision
		t.acks.Add(1)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes = append(t.writes, one)
	return err
}

// more waits for a number of acknowledged writes from now on.
func (t *traffic) more(ctx context.Context, r *run, count int64) error {
	want := t.acks.Load() + count
	return r.await(ctx, "clients of all nodes write", func(context.Context) string {
		if missing := want - t.acks.Load(); missing > 0 {
			return fmt.Sprintf("%d of %d acknowledgements are missing", missing, count)
		}
		return ""
	})
}

// take waits until no request is under way, reads the registers at both ends of the fleet, turns to new ones, and
// returns everything that happened to the former.
func (t *traffic) take(ctx context.Context) ([]operation, error) {
	t.gate.Lock()
	defer t.gate.Unlock()
	history := t.history
	for _, at := range []int{0, len(t.clients) - 1} {
		for register := range registers {
			op := operation{
				client: len(t.clients) * workersPerNode, kind: get,
				key: fmt.Sprintf("%sregister/%d/%d", t.prefix, t.turn, register),
			}
			if err := t.read(ctx, &op, at); err != nil {
				return nil, err
			}
			history = append(history, op)
		}
	}
	t.history = nil
	t.turn++
	return history, nil
}

// read does a get at a node, which an election there may fail: it changes nothing, and is made again.
func (t *traffic) read(ctx context.Context, op *operation, at int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		op.began = time.Since(t.began)
		err := op.do(ctx, t.clients[at].Load())
		op.ended = time.Since(t.began)
		if err == nil {
			return nil
		}
		if wait(ctx, errorPause) != nil {
			return fmt.Errorf("read %s at the end: %w", op.key, err)
		}
	}
}
