package sim

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
	"github.com/mimir-kv/mimir/replication"
)

// keepLeases has the process keep leases while it is its task, as a server does.
func (p *process) keepLeases(c *replication.Config) {
	s, ok := p.storage.(*kv.Store)
	if !ok || !p.member.fleet.plan.inject[injectLease] {
		return
	}
	p.lessor = lease.NewLessor(s, p.member.clock, func(ctx context.Context, t replication.Tenure, id int64) error {
		step := command.Alone
		if inParts(id) {
			part := expiryPart(id, command.Begins)
			if step = command.GoesOn; p.Understood(ctx, part) != nil { // as a server asks
				step = command.Alone
				part = expiryPart(id, step)
			}
			if err := p.decide(ctx, t, part); err != nil {
				return err
			}
			select {
			case <-time.After(partsTake):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return p.decide(ctx, t, command.EncodeLeaseExpiry(id, step))
	})
	c.OnLeadership = func(primaryLeader bool) {
		if primaryLeader {
			p.lessor.Promote(p.Tenure())
		} else {
			p.lessor.Demote()
		}
	}
	c.OnAsk = p.renew
}

// partsTake is how long after its first part the end of a lease is complete that ends in parts, at least.
const partsTake = 3 * time.Second

// inParts reports whether a lease ends in parts: every other one.
func inParts(id int64) bool { return id%2 == 1 }

// expiryPart is the first part of the end of a lease. Its key goes with the rest: nobody says of one that is gone when
// it may be written again.
func expiryPart(id int64, s command.Step) []byte {
	return command.EncodeLeaseExpiryPart(id, [][]byte{[]byte(leaseKeys + "none")}, s)
}

// decide writes what the lessor decided, as a server does: that it is not in as many regions yet as have to have it is
// no failure.
func (p *process) decide(ctx context.Context, t replication.Tenure, c []byte) error {
	receipt, err := p.Propose(ctx, []*replication.Command{{Data: c}}, replication.WithinTenure(t))
	if receipt != nil && errors.Is(err, replication.ErrUnderReplicated) {
		return nil
	}
	return err
}

// renewal is an answer to a holder: the lease lives on for its full time, under this epoch.
type renewal struct {
	Gone    bool // there is no such lease, or its end is decided
	Epoch   replication.Epoch
	Primary string
	asked   time.Time
}

// renew is OnAsk: it renews the lease with the identity that is asked for.
func (p *process) renew(_ context.Context, request []byte) ([]byte, error) {
	r := renewal{Epoch: p.Tenure().Epoch, Primary: p.member.region}
	_, err := p.lessor.Renew(int64(binary.LittleEndian.Uint64(request)))
	switch {
	case errors.Is(err, command.ErrLeaseNotFound):
		r.Gone = true
	case err != nil:
		return nil, fmt.Errorf("%w: %w", replication.ErrNotReady, err)
	}
	return json.Marshal(r)
}

// held is a lease as its holder knows it.
type held struct {
	id       int64
	ttl      time.Duration
	key      string
	renewals []renewal // those that were answered and found it alive
}

// holder is granted leases, keeps them alive for a while with a key each, and revokes them or lets them go.
type holder struct {
	*client
	leases []*held
}

const (
	holderCount = 3
	// leaseKeys is before every key of a lease, behind all others.
	leaseKeys = "lease/"
)

// newHolders returns the holders of a run; none where no leases are injected.
func newHolders(f *fleet, d *operations) []*holder {
	if !f.plan.inject[injectLease] || f.plan.storage != storageKV {
		return nil
	}
	var list []*holder
	for i := range holderCount {
		h := &holder{client: newClient(f, d, i)}
		h.name = fmt.Sprintf("holder%d", i)
		h.random = stream(f.plan.seed, h.name)
		list = append(list, h)
	}
	return list
}

func (h *holder) run(ctx context.Context, until time.Time) {
	for time.Now().Before(until) && ctx.Err() == nil {
		time.Sleep(time.Duration(h.random.IntN(1000)) * time.Millisecond)
		h.hold(ctx, until)
	}
}

// somewhere does something at a node, and reports whether there is one.
func (h *holder) somewhere(ctx context.Context, do func(ctx context.Context, p *process)) bool {
	list := h.fleet.running()
	if len(list) == 0 {
		return false
	}
	ctx, cancel := h.call(ctx)
	defer cancel()
	do(ctx, list[h.random.IntN(len(list))])
	return true
}

// hold is the life of one lease.
func (h *holder) hold(ctx context.Context, until time.Time) {
	l := &held{
		id:  int64(h.number+1)<<32 | int64(len(h.leases)+1),
		ttl: time.Duration(lease.MinTTL+h.random.IntN(3)) * time.Second,
	}
	l.key = fmt.Sprintf("%s%d", leaseKeys, l.id)
	granted := unknown
	h.leases = append(h.leases, l)
	h.somewhere(ctx, func(ctx context.Context, p *process) {
		granted = h.propose(ctx, p, command.EncodeLeaseGrant(
			&pb.LeaseGrantRequest{ID: l.id, TTL: int64(l.ttl / time.Second)}))
		h.put(ctx, p, l)
	})
	letGo := time.Now().Add(time.Duration(h.random.IntN(8000)) * time.Millisecond)
	for alive := granted == acknowledged; alive && time.Now().Before(letGo) && time.Now().Before(until); {
		time.Sleep(time.Duration(h.random.Int64N(int64(l.ttl))) / 2)
		h.somewhere(ctx, func(ctx context.Context, p *process) {
			if alive = h.renew(ctx, p, l); alive && h.random.IntN(2) == 0 {
				h.put(ctx, p, l)
			}
		})
	}
	if h.random.IntN(3) == 0 {
		h.comeBack(ctx, l, until)
	}
	if h.random.IntN(3) == 0 {
		h.somewhere(ctx, func(ctx context.Context, p *process) {
			h.propose(ctx, p, command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: l.id}))
		})
	}
}

// comeBack asks for a lease again whose time is over, or nearly, whatever is answered.
func (h *holder) comeBack(ctx context.Context, l *held, until time.Time) {
	time.Sleep(l.ttl - l.ttl/8)
	for tries := 0; tries < 10 && time.Now().Before(until); tries++ {
		time.Sleep(time.Duration(h.random.Int64N(int64(l.ttl / 4))))
		h.somewhere(ctx, func(ctx context.Context, p *process) { h.renew(ctx, p, l) })
	}
}

// put attaches the key of a lease to it.
func (h *holder) put(ctx context.Context, p *process, l *held) {
	h.writes++
	h.propose(ctx, p, command.EncodePut(&pb.PutRequest{
		Key: []byte(l.key), Value: fmt.Appendf(nil, "%s/%d", h.name, h.writes), Lease: l.id,
	}))
}

// renew asks a node to keep a lease alive, and reports whether it may be.
func (h *holder) renew(ctx context.Context, p *process, l *held) (alive bool) {
	r := renewal{asked: time.Now()}
	answer, err := p.Ask(ctx, binary.LittleEndian.AppendUint64(nil, uint64(l.id)))
	if err != nil || p.gone.Load() {
		return true
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		h.fleet.trace.wrong("12", "an answer to a renewal is %q: %v", answer, err)
	} else if !r.Gone {
		l.renewals = append(l.renewals, r)
	}
	return !r.Gone
}

// leased returns which node still has leases, "" if none has.
func (f *fleet) leased() string {
	for _, m := range f.members {
		p := m.current()
		if p == nil || p.lessor == nil {
			continue
		}
		if list := p.storage.(*kv.Store).Leases(); len(list) > 0 {
			return fmt.Sprintf("%s has %d leases, %d among them, which nobody keeps alive", m.name, len(list),
				list[0].ID)
		}
	}
	return ""
}

// startHolders has all of them hold leases until the time is over.
func startHolders(ctx context.Context, list []*holder, until time.Time, going *sync.WaitGroup) {
	for _, h := range list {
		going.Go(func() { h.run(ctx, until) })
	}
}
