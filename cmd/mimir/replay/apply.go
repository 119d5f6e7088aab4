package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
)

// look returns what the first keys of many are now.
func (r *run) look(ctx context.Context, names []string) ([]*mvccpb.KeyValue, error) {
	if len(names) == 0 {
		return nil, nil
	}
	now, _, err := r.fleet.Keys(ctx, names[:min(len(names), lookKeys)], 0)
	return now, err
}

// apply does what is left to do of a command, if everything is as it was.
func (r *run) apply(ctx context.Context, e *effect, entry *Entry, missing []write) error {
	if e.revoke != 0 && len(missing) == 0 {
		return r.revokeLease(ctx, e, entry)
	}
	q := guard(e)
	for _, check := range []func() (string, error){
		func() (string, error) { return r.guardSpans(ctx, e, q) },
		func() (string, error) { return r.needLeases(ctx, missing) },
		func() (string, error) { return r.othersHang(ctx, e) },
	} {
		if reason, err := check(); err != nil || reason != "" {
			return r.because(ctx, e, entry, reason, err)
		}
	}
	for _, w := range missing {
		if op := w.op(); op != nil {
			q.Success = append(q.Success, op)
		}
	}
	if n := max(len(q.Compare), len(q.Success)); n > r.MaxOps {
		reason := fmt.Sprintf("it needs %d operations and comparisons, and a transaction has at most %d", n, r.MaxOps)
		return r.because(ctx, e, entry, reason, nil)
	}
	if n := proto.Size(q); r.MaxBytes > 0 && n >= r.MaxBytes {
		reason := fmt.Sprintf("with its comparisons it has %d bytes, and a request has less than %d", n, r.MaxBytes)
		return r.because(ctx, e, entry, reason, nil)
	}
	if r.DryRun {
		entry.Verdict = Applies
		r.took(missing, 0)
		return nil
	}
	answer, err := r.fleet.Txn(ctx, q)
	switch {
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrNoLease):
		return r.because(ctx, e, entry, err.Error(), nil)
	case err != nil:
		return err
	case !answer.Succeeded:
		return r.changed(ctx, e, entry)
	}
	entry.Verdict = Applied
	r.took(missing, answer.GetHeader().GetRevision())
	if e.revoke != 0 {
		return r.revokeLease(ctx, e, entry)
	}
	return nil
}

func (r *run) because(ctx context.Context, e *effect, entry *Entry, reason string, err error) error {
	if err != nil {
		return err
	}
	var all []obstacle
	for i := range e.writes {
		all = append(all, obstacle{e.writes[i].key, "", &e.writes[i].now})
	}
	return r.conflict(ctx, entry, reason, all...)
}

// took notes that writes are today's.
func (r *run) took(missing []write, revision int64) {
	for _, w := range missing {
		k := w.key
		k.place, k.made, k.madeOn = w.stage, r.DryRun, w.now.lease
		if k.mod = 0; w.now.exists {
			k.mod = revision
		}
	}
}

// changed finds out what the guard met: it held a moment ago. Where somebody else did just what the command does, such
// as another replay of the tail, it is decided anew.
func (r *run) changed(ctx context.Context, e *effect, entry *Entry) error {
	const why = "it was changed while the tail was replayed"
	var all []obstacle
	var stages []int
	for i := range e.writes {
		w := &e.writes[i]
		all, stages = append(all, obstacle{w.key, why, &w.now}), append(stages, w.stage)
	}
	for i := range e.relied {
		u := &e.relied[i]
		all, stages = append(all, obstacle{u.key, why, &u.was}), append(stages, u.stage)
	}
	var differ []obstacle
	did := false
	for some := range slices.Chunk(all, lookKeys) {
		now, err := r.look(ctx, namesIn(some))
		if err != nil {
			return err
		}
		for i, kv := range now {
			k, stage := some[i].key, stages[i]
			switch {
			case k.mod == kv.GetModRevision():
			case stage > 0 && some[i].lost.is(kv):
				k.place, k.mod, did = max(k.place, stage), kv.GetModRevision(), true
			default:
				k.place = -1
				differ = append(differ, some[i])
			}
		}
		stages = stages[len(some):]
	}
	switch {
	case len(differ) > 0:
		return r.conflict(ctx, entry, "", differ...)
	case did:
		return r.verdict(ctx, e, entry)
	}
	return r.conflict(ctx, entry, "something that it relies on was changed while the tail was replayed")
}

func namesIn(all []obstacle) (names []string) {
	for _, o := range all {
		names = append(names, o.key.name)
	}
	return names
}

// guard returns a transaction that holds while the keys of a command are where they are thought to be.
func guard(e *effect) *pb.TxnRequest {
	q, seen := &pb.TxnRequest{}, map[*key]bool{}
	each := func(k *key) {
		if seen[k] {
			return
		}
		seen[k] = true
		q.Compare = append(q.Compare, &pb.Compare{
			Key: []byte(k.name), Target: pb.Compare_MOD, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: k.mod},
		})
	}
	for _, w := range e.writes {
		each(w.key)
	}
	for _, u := range e.relied {
		each(u.key)
	}
	return q
}

// guardSpans looks at the ranges of a command again: each is as the command found it, and nothing may come into it.
func (r *run) guardSpans(ctx context.Context, e *effect, q *pb.TxnRequest) (reason string, err error) {
	wrote := map[*key]bool{}
	for _, w := range e.writes {
		wrote[w.key] = true
	}
	for _, sp := range e.spans {
		changed := func(name string) {
			if reason == "" {
				reason = fmt.Sprintf("%q, in a range that it covers, was changed since the fork", name)
			}
		}
		at, err := r.fleet.Span(ctx, sp, 0, func(kv *mvccpb.KeyValue) {
			if k := r.keys[string(kv.Key)]; k == nil || !k.made && k.mod != kv.ModRevision {
				changed(string(kv.Key))
			}
		})
		if err != nil {
			return "", err
		}
		for _, k := range r.in(sp) {
			found := k.stage
			if wrote[k] {
				found--
			}
			if k.place < found {
				changed(k.name)
			}
		}
		c := &pb.Compare{
			Key: sp.Start, RangeEnd: sp.End, Target: pb.Compare_MOD, Result: pb.Compare_LESS,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: at + 1},
		}
		if len(sp.End) == 0 {
			c.RangeEnd = []byte{0}
		}
		q.Compare = append(q.Compare, c)
	}
	return reason, nil
}

// op is what makes a write; nil if there is nothing to make.
func (w *write) op() *pb.RequestOp {
	if w.now.exists {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
			Key: []byte(w.key.name), Value: w.now.value, Lease: w.now.lease,
		}}}
	}
	if !w.was {
		return nil
	}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{
		Key: []byte(w.key.name),
	}}}
}

// needLeases says which lease of what is to be put is not there.
func (r *run) needLeases(ctx context.Context, missing []write) (reason string, err error) {
	for _, w := range missing {
		id := w.now.lease
		if !w.now.exists || id == 0 || r.granted[id] {
			continue
		}
		l, err := r.lease(ctx, id)
		if err != nil {
			return "", err
		}
		if ttl, ok := r.grants[id]; ok && !l.today {
			if err := r.grantNow(ctx, id, ttl); err != nil && !errors.Is(err, ErrLeaseExists) {
				return "", err
			}
			continue
		}
		if !l.today {
			return fmt.Sprintf("lease %x of %q is not there today", id, w.key.name), nil
		}
	}
	return "", nil
}

func (r *run) grantNow(ctx context.Context, id, ttl int64) error {
	r.granted[id] = true
	if r.DryRun {
		return nil
	}
	return r.fleet.Grant(ctx, id, ttl)
}

func (r *run) grantLease(ctx context.Context, e *effect, entry *Entry) error {
	l, err := r.lease(ctx, e.grant.ID)
	if err != nil {
		return err
	}
	switch {
	case l.today:
		entry.Verdict = There
		return nil
	case l.gone:
		r.grants[e.grant.ID] = e.grant.TTL // if a key needs it all the same
		entry.Verdict, entry.Reason = There, "the tail ends it again"
		return nil
	case len(r.Only) > 0:
		r.grants[e.grant.ID] = e.grant.TTL
		entry.Verdict, entry.Reason = LeftOut, "it is granted when a key needs it"
		return nil
	}
	if entry.Verdict = Applied; r.DryRun {
		entry.Verdict = Applies
	}
	err = r.grantNow(ctx, e.grant.ID, e.grant.TTL)
	if errors.Is(err, ErrLeaseExists) { // somebody else has granted it since
		entry.Verdict, err = There, nil
	}
	return err
}

// othersHang says that keys hang on a lease today, which is to be revoked, that did not in the lost history.
func (r *run) othersHang(ctx context.Context, e *effect) (reason string, err error) {
	if e.revoke == 0 {
		return "", nil
	}
	hangs, err := r.fleet.Lease(ctx, e.revoke)
	if err != nil && !errors.Is(err, ErrNoLease) {
		return "", err
	}
	hangs = slices.DeleteFunc(hangs, func(name string) bool {
		k := r.keys[name]
		return k != nil && k.made
	})
	for name, k := range r.keys {
		if k.made && k.madeOn == e.revoke {
			hangs = append(hangs, name)
		}
	}
	slices.Sort(hangs)
	for _, name := range hangs {
		if !slices.ContainsFunc(e.writes, func(w write) bool { return w.key.name == name }) {
			return fmt.Sprintf("%q hangs on lease %x today, and did not in the lost history", name, e.revoke), nil
		}
	}
	return "", nil
}

// revokeLease ends a lease of which the keys are gone, as the lost history had it.
func (r *run) revokeLease(ctx context.Context, e *effect, entry *Entry) error {
	l, err := r.lease(ctx, e.revoke)
	if err != nil {
		return err
	}
	if !l.today && !r.granted[e.revoke] {
		if entry.Verdict == "" {
			entry.Verdict = There
		}
		return nil
	}
	if reason, err := r.othersHang(ctx, e); err != nil || reason != "" {
		entry.Verdict, entry.Reason = Conflict, reason
		return err
	}
	l.today = false
	delete(r.granted, e.revoke)
	if entry.Verdict = Applied; r.DryRun {
		entry.Verdict = Applies
		return nil
	}
	if err := r.fleet.Revoke(ctx, e.revoke); err != nil && !errors.Is(err, ErrNoLease) {
		return err
	}
	return nil
}
