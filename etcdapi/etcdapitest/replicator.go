package etcdapitest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
)

// nodeID is the Raft identity of the only node.
const nodeID = 1

// Replicator applies commands to a store. It is safe for concurrent use.
type Replicator struct {
	versions
	store    *kv.Store
	queue    chan *unit
	done     chan struct{}
	ended    chan struct{}        // nothing is applied any more
	position replication.Position // of the applier alone

	mu        sync.Mutex
	member    uint64                    // what it is to be called; 0: nodeID
	fail      error                     // of every call but Health
	lose      func(command []byte) bool // the answers to writes, which are done
	primary   *kv.Store                 // where commands are applied, if that is not here yet
	delayed   bool                      // the region shows its history late
	refuse    error                     // of every change of members, which is not made then
	leader    uint64
	members   []replication.NodeStatus
	late      []replication.NodeStatus // what Members says instead; nil: nothing else
	answer    func(context.Context, []byte) ([]byte, error)
	lessor    *lease.Lessor
	mute      error         // of questions
	hold      chan struct{} // not nil while questions are held
	held      chan struct{} // not nil while writes are held
	waiting   int           // writes that are held
	onBarrier func()
	hides     bool  // that there are users and roles
	cut       bool  // from the primary
	replaying error // of barriers that are not linearizable
	unsure    error // of those that are
	follows   *replication.PeerStatus
	regions   regions
	proposals int // that were applied
	asked     int
	barriers  int
	onEnd     func() error // of linearizable reads
}

var _ etcdapi.Replicator = (*Replicator)(nil)

type unit struct {
	commands []*replication.Command
	receipt  chan *replication.Receipt
}

func newReplicator(store *kv.Store) *Replicator {
	r := &Replicator{
		store:  store,
		queue:  make(chan *unit, 1024),
		done:   make(chan struct{}),
		ended:  make(chan struct{}),
		leader: nodeID,
		members: []replication.NodeStatus{{
			ID: nodeID, Name: "test-1", Region: "test", PeerAddr: "127.0.0.1:2380",
			ClientURLs: []string{"http://127.0.0.1:2379"}, Leader: true, Reachable: true,
		}},
	}
	go r.run()
	return r
}

// run applies what waits, in batches.
func (r *Replicator) run() {
	defer close(r.ended)
	for {
		var units []*unit
		select {
		case <-r.done:
			return
		case u := <-r.queue:
			units = append(units, u)
		}
		for range len(r.queue) {
			units = append(units, <-r.queue)
		}
		r.apply(units)
	}
}

func (r *Replicator) apply(units []*unit) {
	batch := &replication.Batch{Epoch: 1, First: r.position + 1, WantResults: true}
	for _, u := range units {
		for _, c := range u.commands {
			batch.Commands = append(batch.Commands, *c)
		}
	}
	r.position += replication.Position(len(batch.Commands))
	batch.Metadata = &replication.Metadata{
		AppliedIndex: uint64(r.position), AppliedTerm: 1, Epoch: 1, Position: r.position,
	}
	results, err := r.applies().Apply(batch)
	if err != nil {
		panic(err)
	}
	for _, u := range units {
		n := len(u.commands)
		u.receipt <- &replication.Receipt{Epoch: 1, Position: r.position, Results: results[:n:n], Regions: 1}
		results = results[n:]
	}
}

// Fail makes every call fail with err until it is called with nil.
func (r *Replicator) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// LoseAnswers has writes be done, and end as one does whose leader died before it answered, until it is called with
// false.
func (r *Replicator) LoseAnswers(lose bool) {
	if lose {
		r.LoseAnswersOf(func([]byte) bool { return true })
	} else {
		r.LoseAnswersOf(nil)
	}
}

// LoseAnswersOf has those end so of which a command is one of these.
func (r *Replicator) LoseAnswersOf(these func(command []byte) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose = these
}

func (r *Replicator) loses(cs []*replication.Command) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lose != nil && slices.ContainsFunc(cs, func(c *replication.Command) bool { return r.lose(c.Data) })
}

// RefuseChanges makes the leader refuse changes of members with err, whatever this node's picture is, until it is
// called with nil.
func (r *Replicator) RefuseChanges(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = err
}

// Decided reports whether there ever were users or roles, or Hide said so, but for commands that nobody understood.
func (r *Replicator) Decided(command []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return (r.hides || r.store.Auth().Used()) && !r.lacks(command)
}

// Hide makes the region one that shows its history late, in which there are users and roles.
func (r *Replicator) Hide() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hides, r.fail = true, fmt.Errorf("%w: on purpose", replication.ErrDelayed)
}

// HoldWrites makes writes wait, as for a majority, until release is called. Held returns how many do.
func (r *Replicator) HoldWrites() (held func() int, release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hold := make(chan struct{})
	r.held = hold
	held = func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.waiting
	}
	return held, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.held = nil
		close(hold)
	}
}

// AtBarriers has every barrier call f first: what the primary has is here then. Nil for none.
func (r *Replicator) AtBarriers(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onBarrier = f
}

// awaitHold waits while writes are held.
func (r *Replicator) awaitHold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	hold := r.held
	if hold == nil {
		return
	}
	r.waiting++
	r.mu.Unlock()
	select {
	case <-hold:
	case <-r.done:
	}
	r.mu.Lock()
	r.waiting--
}

// HoldAsks makes questions wait, as for an answer from far away, until release is called.
func (r *Replicator) HoldAsks() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hold := make(chan struct{})
	r.hold = hold
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.hold = nil
		close(hold)
	}
}

// LetAsks lets the questions pass that are asked from now on. Those that wait go on waiting for their release.
func (r *Replicator) LetAsks() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = nil
}

// SetLeader says whether the node knows a leader.
func (r *Replicator) SetLeader(known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leader = 0
	if known {
		r.leader = nodeID
	}
}

// Calls returns how many questions were asked and how many barriers passed.
func (r *Replicator) Calls() (asked, barriers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked, r.barriers
}

func (r *Replicator) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fail
}

// Propose applies commands.
func (r *Replicator) Propose(
	ctx context.Context, cs []*replication.Command, opts ...replication.ProposeOption,
) (*replication.Receipt, error) {
	if err := r.failure(); err != nil {
		return nil, err
	}
	if err := taken(ctx, r, opts); err != nil {
		return nil, err
	}
	r.awaitHold()
	r.proposed(cs)
	u := &unit{commands: cs, receipt: make(chan *replication.Receipt, 1)}
	select {
	case r.queue <- u:
	case <-r.done:
		return nil, replication.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case receipt := <-u.receipt:
		if r.loses(cs) {
			return nil, fmt.Errorf("%w: on purpose", replication.ErrUnknownOutcome)
		}
		return receipt, shortOf(r, opts)
	case <-r.done:
		return nil, replication.ErrClosed
	}
}

// Cut has linearizable barriers that begin from now on wait in vain, as for a primary that does not answer.
func (r *Replicator) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
}

// Replay has barriers that are not linearizable fail with err, as after a start at a node that has not applied again
// what it had shown.
func (r *Replicator) Replay(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replaying = err
}

// FailBarriers has linearizable barriers fail with err, while writes go on, until it is called with nil.
func (r *Replicator) FailBarriers(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unsure = err
}

// ReadBarrier returns at once: what was acknowledged is applied, and nothing was shown before. It counts the
// linearizable ones.
func (r *Replicator) ReadBarrier(ctx context.Context, l replication.Level) error {
	r.mu.Lock()
	if l == replication.Serializable {
		defer r.mu.Unlock()
		return r.replaying
	}
	r.barriers++
	f, err, cut := r.onBarrier, cmp.Or(r.fail, r.unsure), r.cut
	r.mu.Unlock()
	if cut {
		<-ctx.Done()
		return fmt.Errorf("%w: %w", replication.ErrNotReady, ctx.Err())
	}
	if f != nil {
		f()
	}
	return err
}

// AtEnds has every linearizable read that ends call f first, and fail with what it returns. Nil for none.
func (r *Replicator) AtEnds(f func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onEnd = f
}

// BeginRead is a linearizable ReadBarrier; what was read may be told at once.
func (r *Replicator) BeginRead(ctx context.Context) (end func(ctx context.Context) error, err error) {
	if err := r.ReadBarrier(ctx, replication.Linearizable); err != nil {
		return nil, err
	}
	return func(context.Context) error {
		r.mu.Lock()
		f := r.onEnd
		r.mu.Unlock()
		if f == nil {
			return nil
		}
		return f()
	}, nil
}

// ReadWithin is ReadBarrier: nothing here is older than the call.
func (r *Replicator) ReadWithin(ctx context.Context, _ time.Duration) error {
	return r.ReadBarrier(ctx, replication.Linearizable)
}

// FailAsks has questions fail with err, until it is called with nil.
func FailAsks(r *Replicator, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = err
}

// Ask is answered by the node itself, or by the primary where that has more.
func (r *Replicator) Ask(ctx context.Context, request []byte) ([]byte, error) {
	r.mu.Lock()
	r.asked++
	answer, err, hold := r.answer, cmp.Or(r.fail, r.mute), r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err != nil {
		return nil, err
	}
	return answer(ctx, request)
}

// Be has answers come from a member of this ID. It is called before any is given.
func (r *Replicator) Be(member uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.member = member
}

// Health describes the node.
func (r *Replicator) Health() *replication.HealthStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &replication.HealthStatus{
		State: cmp.Or(r.regions.state, replication.StateReady), NodeID: "test-1",
		Region: "test", RaftID: cmp.Or(r.member, nodeID), Healthy: r.leader != 0 && r.fail == nil,
		IsLeader: r.leader == nodeID, LeaderRaftID: r.leader, Term: 2, Role: replication.RolePrimary, Epoch: 1,
		Nodes: append([]replication.NodeStatus(nil), r.members...),
	}
	if r.hides || r.delayed {
		h.Late = &replication.Late{}
	}
	if h.State != replication.StateReady {
		return h
	}
	if h.Votes = r.regions.votes; r.regions.reigns {
		h.Primary = h.Region
	}
	for _, region := range r.regions.others {
		h.Peers = append(h.Peers, replication.PeerStatus{ID: region, Role: replication.RoleSecondary})
	}
	if r.follows != nil {
		h.Role, h.Primary, h.Peers = replication.RoleSecondary, r.follows.ID, []replication.PeerStatus{*r.follows}
	}
	return h
}

// TransferLeader makes another node the leader, as far as Health goes.
func (r *Replicator) TransferLeader(_ context.Context, to uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	r.leader = to
	return r.fail
}
