package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// outcome is what a client knows of its operation.
type outcome int

const (
	acknowledged outcome = iota
	refused              // certainly not done
	unknown
)

func (o outcome) String() string { return [...]string{"acknowledged", "refused", "unknown"}[o] }

// operation is one call of a client. Begin and end are numbers of one order over all clients.
type operation struct {
	node       string
	values     []string // of a write: the data of its commands
	begin, end uint64
	outcome    outcome
	epoch      replication.Epoch    // of a write
	position   replication.Position // of the last command
	regions    int                  // in which the write is durable, as the receipt says
	seen       *place               // of a read
	short      bool                 // of a write: it was said to be in fewer regions than it has to be
	results    [][]byte             // of a write
}

// operations are what all clients did. They are safe for concurrent use.
type operations struct {
	mu    sync.Mutex
	clock uint64
	list  []operation
}

func (d *operations) now() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock++
	return d.clock
}

func (d *operations) add(o operation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock++
	o.end = d.clock
	d.list = append(d.list, o)
}

// acknowledged returns how many writes were.
func (d *operations) acknowledged() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, o := range d.list {
		if o.values != nil && o.outcome == acknowledged {
			n++
		}
	}
	return n
}

// client writes and reads at random nodes until its time is over.
type client struct {
	fleet      *fleet
	operations *operations
	number     int
	name       string
	random     *rand.Rand

	writes    int
	compacted int64
}

func newClient(f *fleet, d *operations, number int) *client {
	name := fmt.Sprintf("client%d", number)
	return &client{fleet: f, operations: d, number: number, name: name, random: stream(f.plan.seed, name)}
}

func (c *client) run(ctx context.Context, until time.Time) {
	for time.Now().Before(until) && ctx.Err() == nil {
		time.Sleep(time.Duration(c.random.Int64N(int64(c.fleet.plan.think))))
		list := c.fleet.running()
		if len(list) == 0 {
			continue
		}
		p := list[c.random.IntN(len(list))]
		callCtx, cancel := c.call(ctx)
		if c.random.IntN(4) == 0 {
			c.read(callCtx, p)
		} else {
			c.write(callCtx, p, 1+c.random.IntN(3)*c.random.IntN(2))
		}
		cancel()
	}
}

// call bounds a call by how long a client waits.
func (c *client) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, pick(c.random, 300*time.Millisecond, 2*time.Second, 6*time.Second))
}

// write proposes one unit of commands.
func (c *client) write(ctx context.Context, p *process, commands int) outcome {
	unit := make([][]byte, commands)
	for i := range unit {
		c.writes++
		unit[i] = c.command(fmt.Sprintf("%s/%d ", c.name, c.writes))
	}
	return c.propose(ctx, p, unit...)
}

// propose proposes one unit of commands that nobody else proposes. What a process says after its power failed, or
// while it stands still, was never heard.
func (c *client) propose(ctx context.Context, p *process, commands ...[]byte) outcome {
	var options []replication.ProposeOption
	if len(c.fleet.plan.regions) > 1 && c.random.IntN(8) == 0 {
		options = append(options, replication.WithRegions(2))
	}
	if c.fleet.hasUsers() {
		for i, data := range commands {
			commands[i] = p.asRoot(data)
		}
		if p.Understood(ctx, commands[0]) != nil {
			return refused
		}
	}
	return c.order(ctx, p, options, commands...).outcome
}

// order is propose with these options.
func (c *client) order(
	ctx context.Context, p *process, options []replication.ProposeOption, commands ...[]byte,
) operation {
	o := operation{node: p.NodeID(), begin: c.operations.now()}
	unit := make([]*replication.Command, len(commands))
	for i, data := range commands {
		o.values = append(o.values, string(data))
		unit[i] = &replication.Command{Data: data}
	}
	r, err := p.Propose(ctx, unit, options...)
	switch {
	case p.silent():
		o.outcome = unknown
	case err == nil, errors.Is(err, replication.ErrUnderReplicated) && r != nil:
		o.outcome, o.epoch, o.position, o.regions = acknowledged, r.Epoch, r.Position, r.Regions
		o.short, o.results = err != nil, r.Results
	case errors.Is(err, replication.ErrNotReady), errors.Is(err, replication.ErrTooLarge):
		o.outcome = refused
	default:
		o.outcome = unknown
	}
	c.operations.add(o)
	return o
}

// valueName is how many bytes of a command tell it apart.
const valueName = 24

// command returns a command of the storage in use that holds the unique name.
func (c *client) command(name string) []byte {
	value := name + strings.Repeat("x", c.random.IntN(c.fleet.plan.payload))
	if c.fleet.plan.storage != storageKV {
		return []byte(value)
	}
	key := func() []byte { return fmt.Appendf(nil, "k%02d", c.random.IntN(40)) }
	put := &pb.PutRequest{Key: key(), Value: []byte(value)}
	switch c.random.IntN(12) {
	case 0:
		c.compacted += 1 + c.random.Int64N(15)
		others := 2 * int64(c.fleet.plan.clients+1) // those after the faults included
		return command.EncodeCompaction(&pb.CompactionRequest{Revision: c.compacted*others + int64(c.number)})
	case 1:
		return command.EncodeTxn(&pb.TxnRequest{
			Compare: []*pb.Compare{{
				Key: key(), Target: pb.Compare_VERSION, Result: pb.Compare_GREATER,
				TargetUnion: &pb.Compare_Version{Version: c.random.Int64N(5)},
			}},
			Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: put}}},
			Failure: []*pb.RequestOp{
				{Request: &pb.RequestOp_RequestDeleteRange{
					RequestDeleteRange: &pb.DeleteRangeRequest{Key: key(), RangeEnd: []byte("k99")},
				}},
				{Request: &pb.RequestOp_RequestPut{
					RequestPut: &pb.PutRequest{Key: []byte(name), Value: []byte("failed")},
				}},
			},
		})
	default:
		return command.EncodePut(put)
	}
}

// read makes a linearizable read of the place at which a node is, and reports whether it was answered.
func (c *client) read(ctx context.Context, p *process) (o operation, ok bool) {
	o = operation{node: p.NodeID(), begin: c.operations.now()}
	end, err := p.BeginRead(ctx)
	o.seen = p.auditor.at.Load()
	if err == nil {
		err = end(ctx)
	}
	if err != nil || p.silent() {
		return o, false
	}
	c.operations.add(o)
	return o, true
}
