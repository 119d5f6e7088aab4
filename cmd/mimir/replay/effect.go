package replay

import (
	"context"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/kv/lease"
)

// effect is what a command did in the lost history.
type effect struct {
	writes []write // of different keys
	relied []use   // keys that were compared
	spans  []command.Span
	grant  *pb.LeaseGrantRequest
	revoke int64
	// unknown says why it cannot be known what the command did: it may have written the keys in maybe.
	unknown string
	maybe   []*key
	guesses []version // what they became if it did all that it asked for
	leases  [][]int64 // that they may have come to hang on
	// kept says why a command is never replayed, byHand why somebody has to decide.
	kept, byHand string
	// mayBeExpiry says that it is not known whether somebody asked for it, or a lease ended that nobody renewed.
	mayBeExpiry string
}

// nothing reports whether the command changed nothing.
func (e *effect) nothing() bool {
	return len(e.writes) == 0 && e.grant == nil && e.revoke == 0 && e.unknown == "" && e.kept == "" && e.byHand == ""
}

// write is a key that became something, by its stage of that number. Both ends may be that it is not there.
type write struct {
	key   *key
	stage int
	was   bool
	now   version
}

// use is a key as it was when it was needed.
type use struct {
	key   *key
	stage int
	was   version
}

// do evaluates the next command.
func (o *overlay) do(ctx context.Context, c *Command) (*effect, error) {
	if err := o.rev.reach(c.Position); err != nil {
		return nil, fmt.Errorf("position %d: %w", c.Position, err)
	}
	u := &under{overlay: o, at: o.rev.next(), changed: map[*key]*write{}, doubts: map[*key]int{}, perhaps: c.Doubt}
	if c.Refused != "" {
		return &u.effect, nil
	}
	if err := u.request(ctx, c); err != nil {
		return nil, err
	}
	if u.effect.unknown != "" {
		for i, k := range u.effect.maybe {
			o.unhang(k)
			before := k.size()
			k.doubted(u.effect.guesses[i], u.effect.leases[i])
			o.held += k.size() - before
		}
		o.rev.doubted()
		return &u.effect, o.full()
	}
	if len(u.order) > 0 && c.Op != OpChanges {
		o.rev.changed()
	}
	for _, k := range u.order {
		w := u.changed[k]
		w.stage = k.stage
		u.effect.writes = append(u.effect.writes, *w)
		if o.first {
			k.observe()
		}
	}
	return &u.effect, o.full()
}

// under is the command under way.
type under struct {
	*overlay
	effect  effect
	at      stamp // of what it changes
	changed map[*key]*write
	order   []*key
	doubts  map[*key]int // places in effect.maybe
	perhaps string       // why it is not known whether the command was refused
}

// change makes v of a key; a second change by one command is part of the first.
func (u *under) change(k *key, v version) {
	w, before := u.changed[k], k.size()
	if w == nil {
		w = &write{key: k, was: k.lost.exists}
		u.changed[k] = w
		u.order = append(u.order, k)
		u.unhang(k)
		k.becomes(v)
	} else {
		u.unhang(k)
		k.lost = v
	}
	u.hang(k)
	u.held += k.size() - before
	w.now = v
}

func (u *under) request(ctx context.Context, c *Command) error {
	switch q := c.Request.(type) {
	case nil:
		return u.events(ctx, c)
	case *pb.PutRequest:
		return u.single(ctx, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: q}})
	case *pb.DeleteRangeRequest:
		return u.single(ctx, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: q}})
	case *pb.TxnRequest:
		if c.Op == OpExpiryPart {
			u.effect.kept = "their lease was not renewed at the old primary; its owner may have kept it alive since"
		}
		return u.txn(ctx, q)
	case *pb.LeaseGrantRequest:
		return u.leaseGrant(ctx, q)
	case *pb.LeaseRevokeRequest:
		return u.leaseEnd(ctx, q.ID, c.Op == OpExpiry)
	case *pb.CompactionRequest:
		if _, high := u.rev.now.bounds(); q.Revision <= high {
			u.compacted = max(u.compacted, q.Revision)
		}
		u.effect.kept = "a compaction frees room, and changes no key"
	case *pb.AlarmRequest:
		u.effect.kept = "an alarm is about the nodes as they were"
	case *pb.AuthEnableRequest, *pb.AuthDisableRequest, *pb.AuthUserAddRequest, *pb.AuthUserDeleteRequest,
		*pb.AuthUserChangePasswordRequest, *pb.AuthUserGrantRoleRequest, *pb.AuthUserRevokeRoleRequest,
		*pb.AuthRoleAddRequest, *pb.AuthRoleDeleteRequest, *pb.AuthRoleGrantPermissionRequest,
		*pb.AuthRoleRevokePermissionRequest:
		u.effect.byHand = "users and roles are not replayed: do it again if it is still wanted"
	default:
		u.effect.unknown = fmt.Sprintf("a command %q that this version does not know", c.Op)
	}
	return nil
}

// single does a request that stands alone as the one operation of a transaction: the store has no other meaning for it.
func (u *under) single(ctx context.Context, op *pb.RequestOp) error {
	return u.txn(ctx, &pb.TxnRequest{Success: []*pb.RequestOp{op}})
}

// events are changes of which is known what they made, not why.
func (u *under) events(ctx context.Context, c *Command) error {
	var names []string
	for _, e := range c.Events {
		names = append(names, string(e.Kv.Key))
	}
	if err := u.touch(ctx, names...); err != nil {
		return err
	}
	u.rev.at(c.Revision)
	if id := u.leaseThatMayHaveEnded(c.Events); id != 0 {
		u.effect.mayBeExpiry = fmt.Sprintf("lease %x may have ended at the old primary, where nobody renewed it; its "+
			"owner may have kept it alive since: delete what it left by hand if that is wanted", id)
	}
	for i, e := range c.Events {
		v := versionOf(e.Kv)
		if e.Type != 0 {
			v = version{}
		}
		u.change(u.keys[names[i]], v)
	}
	return nil
}

// leaseThatMayHaveEnded returns the lease of which the end looks like these changes: they delete keys that all hung on
// it, and do nothing else. 0: there is none.
func (u *under) leaseThatMayHaveEnded(events []*mvccpb.Event) (id int64) {
	for i, e := range events {
		hung := u.keys[string(e.Kv.Key)].lost.lease
		if e.Type != mvccpb.DELETE || hung == 0 || i > 0 && hung != id {
			return 0
		}
		id = hung
	}
	return id
}

func (u *under) leaseGrant(ctx context.Context, q *pb.LeaseGrantRequest) error {
	if q.ID == 0 || q.TTL > lease.MaxTTL {
		return nil // it was refused
	}
	l, err := u.lease(ctx, q.ID)
	if err != nil {
		return err
	}
	if l.atFork != no && !l.granted {
		keys, err := u.attached(ctx, q.ID, l)
		if err != nil || slices.ContainsFunc(keys, func(k *key) bool { return k.fork.lease == q.ID }) {
			return err // it was there, and the grant was refused
		}
		u.late = u.late || l.used
		l.atFork, l.there = no, no
	}
	if l.there == yes {
		return nil
	}
	if u.perhaps != "" {
		u.because("%s", u.perhaps)
		l.there = maybe
		return nil
	}
	l.there, l.granted = yes, true
	u.effect.grant = q
	return nil
}

// leaseEnd is a revocation, or the end of a lease that nobody renewed.
func (u *under) leaseEnd(ctx context.Context, id int64, expired bool) error {
	l, err := u.lease(ctx, id)
	if err != nil || l.there == no {
		return err
	}
	if expired && l.there == maybe { // only what is there expires
		u.late = u.late || l.used
		l.atFork, l.there = yes, yes
	}
	l.used = l.used || !l.granted
	keys, err := u.attached(ctx, id, l)
	if err != nil {
		return err
	}
	change := u.change
	if u.perhaps != "" {
		u.because("%s", u.perhaps)
		for _, k := range append(keys, u.perhapsOn(id)...) {
			u.mayBecome(k, version{})
		}
		l.there = maybe
		return nil
	}
	if perhaps := u.perhapsOn(id); len(perhaps) > 0 {
		u.because("it ends lease %x, on which %q may have hung", id, perhaps[0].name)
		keys, change = append(keys, perhaps...), u.mayBecome
	} else if len(keys) == 0 && !l.granted {
		u.rev.doubted() // keys that hung on it may have changed today
	}
	for _, k := range keys {
		change(k, version{})
	}
	l.there, l.ended = no, true
	if u.effect.revoke = id; expired {
		u.effect.revoke = 0
		u.effect.kept = fmt.Sprintf(
			"lease %x was not renewed at the old primary; its owner may have kept it alive since", id)
	}
	return nil
}
