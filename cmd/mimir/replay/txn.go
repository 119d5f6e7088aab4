package replay

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// branch is a transaction of which it is known which operations were done.
type branch struct {
	ops    []*pb.RequestOp
	nested []*branch
}

// txn evaluates a transaction as the store does: all comparisons first, then all requests are checked, then they are
// done.
func (u *under) txn(ctx context.Context, q *pb.TxnRequest) error {
	var names []string
	var spans []command.Span
	note := func(sp command.Span) {
		if sp.Single() {
			names = append(names, string(sp.Start))
		} else {
			spans = append(spans, sp)
		}
	}
	comparisons(q, note)
	operations(q, func(_ *pb.PutRequest, sp command.Span) { note(sp) })
	if err := u.touch(ctx, names...); err != nil {
		return err
	}
	for _, sp := range spans {
		if _, err := u.load(ctx, sp); err != nil {
			return err
		}
	}
	if command.IsReadOnly(q) {
		return nil
	}
	if u.perhaps != "" {
		u.because("%s", u.perhaps)
		u.doubt(q)
		return nil
	}
	b := u.choose(q)
	checked := yes
	if b != nil {
		var err error
		if checked, err = u.check(ctx, b); err != nil {
			return err
		}
	}
	if b == nil || checked == maybe {
		u.doubt(q)
		return nil
	}
	u.effect.unknown = "" // what was doubtful made no difference
	if checked == yes {
		u.ops(b)
	}
	return nil
}

// operations calls each with all that a transaction may write, whichever branch it takes: puts, and spans that are
// deleted.
func operations(q *pb.TxnRequest, each func(*pb.PutRequest, command.Span)) {
	for _, ops := range [][]*pb.RequestOp{q.Success, q.Failure} {
		for _, op := range ops {
			if p := op.GetRequestPut(); p != nil {
				each(p, command.SpanOf(p.Key, nil))
			}
			if d := op.GetRequestDeleteRange(); d != nil {
				each(nil, command.SpanOf(d.Key, d.RangeEnd))
			}
			if n := op.GetRequestTxn(); n != nil {
				operations(n, each)
			}
		}
	}
}

// comparisons calls each with all that a transaction may compare.
func comparisons(q *pb.TxnRequest, each func(command.Span)) {
	for _, c := range q.Compare {
		each(command.SpanOf(c.Key, c.RangeEnd))
	}
	for _, ops := range [][]*pb.RequestOp{q.Success, q.Failure} {
		for _, op := range ops {
			if n := op.GetRequestTxn(); n != nil {
				comparisons(n, each)
			}
		}
	}
}

// doubt says that the transaction may have done something, or not.
func (u *under) doubt(q *pb.TxnRequest) {
	operations(q, func(p *pb.PutRequest, sp command.Span) {
		for _, k := range u.in(sp) {
			guess := version{}
			if p != nil {
				guess = version{exists: true, vague: true, mod: u.at, lease: p.Lease, value: p.Value}
			}
			u.mayBecome(k, guess)
		}
	})
}

// mayBecome notes that the command may have made v of a key. The first one of several is the guess.
func (u *under) mayBecome(k *key, v version) {
	e := &u.effect
	i, ok := u.doubts[k]
	if !ok {
		i = len(e.maybe)
		u.doubts[k] = i
		e.maybe, e.guesses, e.leases = append(e.maybe, k), append(e.guesses, v), append(e.leases, nil)
	}
	if v.lease != 0 {
		e.leases[i] = append(e.leases[i], v.lease)
	}
}

// because notes the first reason why it is not known what the command did.
func (u *under) because(format string, arguments ...any) {
	if u.effect.unknown == "" {
		u.effect.unknown = fmt.Sprintf(format, arguments...)
	}
}

// choose makes the comparisons; nil if they cannot be made.
func (u *under) choose(q *pb.TxnRequest) *branch {
	held := yes
	for _, c := range q.Compare {
		held = held.and(u.holds(c))
	}
	b := &branch{ops: q.Success}
	switch held {
	case maybe:
		return nil
	case no:
		b.ops = q.Failure
	}
	for _, op := range b.ops {
		if n := op.GetRequestTxn(); n != nil {
			nested := u.choose(n)
			if nested == nil {
				return nil
			}
			b.nested = append(b.nested, nested)
		}
	}
	return b
}

func (u *under) holds(c *pb.Compare) truth {
	sp := command.SpanOf(c.Key, c.RangeEnd)
	if sp.Single() {
		k := u.keys[string(sp.Start)]
		t := k.holds(c)
		u.effect.relied = append(u.effect.relied, use{k, k.stage, k.lost})
		if t == maybe {
			u.because("it compares %q, %s", sp.Start, k.whyUnknown())
		}
		return t
	}
	u.effect.spans = append(u.effect.spans, sp)
	held, any := yes, false
	for _, k := range u.in(sp) {
		u.effect.relied = append(u.effect.relied, use{k, k.stage, k.lost})
		if k.sure && !k.lost.exists {
			continue
		}
		any = true
		held = held.and(k.holds(c))
	}
	if !any {
		held = (&key{sure: true}).holds(c)
	}
	if !u.whole(sp) && held != no {
		held = maybe
	}
	if held == maybe {
		u.because("it compares a range from %q, of which is not known what it had", sp.Start)
	}
	return held
}

// whole reports whether everything that a span had at the fork is known.
func (u *under) whole(sp command.Span) bool { return sp.Single() || u.spans[spanName(sp)] }

func (k *key) whyUnknown() string {
	if k.sure {
		return "by a revision that is not known"
	}
	if k.stage == 0 {
		return "of which is not known what it was at the fork, because that is compacted"
	}
	return "of which is not known what it had become"
}

// check says whether all requests of the branch would be done. Nothing is changed yet.
func (u *under) check(ctx context.Context, b *branch) (t truth, err error) {
	t = yes
	nested := b.nested
	for _, op := range b.ops {
		one := yes
		switch {
		case op.GetRequestRange() != nil:
			one = u.checkRange(op.GetRequestRange())
		case op.GetRequestPut() != nil:
			one, err = u.checkPut(ctx, op.GetRequestPut())
		case op.GetRequestDeleteRange() != nil:
			one = u.checkDelete(op.GetRequestDeleteRange())
		case op.GetRequestTxn() != nil:
			one, err = u.check(ctx, nested[0])
			nested = nested[1:]
		}
		if err != nil {
			return t, err
		}
		t = t.and(one)
	}
	return t, nil
}

func (u *under) checkPut(ctx context.Context, q *pb.PutRequest) (truth, error) {
	t := yes
	if q.Lease != 0 {
		l, err := u.lease(ctx, q.Lease)
		if err != nil {
			return no, err
		}
		l.used = l.used || !l.granted
		if t = l.there; t == maybe {
			u.because("lease %x is not there today, and it is not known whether it was at the fork", q.Lease)
		}
	}
	if q.IgnoreValue || q.IgnoreLease {
		k := u.keys[string(q.Key)]
		exists := truthOf(k.lost.exists)
		if !k.sure {
			exists = maybe
			u.because("it keeps a part of %q, %s", q.Key, k.whyUnknown())
		}
		t = t.and(exists)
	}
	return t, nil
}

// checkDelete wants to know which keys there were: only that says what was deleted.
func (u *under) checkDelete(q *pb.DeleteRangeRequest) truth {
	sp := command.SpanOf(q.Key, q.RangeEnd)
	for _, k := range u.in(sp) {
		if !k.sure {
			u.because("it deletes %q, %s", k.name, k.whyUnknown())
			return maybe
		}
	}
	if !u.whole(sp) {
		u.because("it deletes a range from %q, of which is not known what it had", sp.Start)
		return maybe
	}
	return yes
}

// checkRange is about a reading inside of a transaction that writes: at a revision that cannot be read it is refused.
func (u *under) checkRange(q *pb.RangeRequest) truth {
	if q.Revision <= 0 {
		return yes
	}
	low, high := u.rev.now.bounds()
	if q.Revision > high {
		return no
	}
	if q.Revision < u.compacted {
		return no
	}
	if g := u.rev.now.in; q.Revision > low || q.Revision < u.certain || g == nil || q.Revision < g.base {
		u.because("it reads at revision %d, and it is not known whether that could be read", q.Revision)
		return maybe
	}
	return yes
}

// ops does the operations of a branch.
func (u *under) ops(b *branch) {
	nested := b.nested
	for _, op := range b.ops {
		switch {
		case op.GetRequestPut() != nil:
			u.put(op.GetRequestPut())
		case op.GetRequestDeleteRange() != nil:
			d := op.GetRequestDeleteRange()
			sp := command.SpanOf(d.Key, d.RangeEnd)
			if !sp.Single() {
				u.effect.spans = append(u.effect.spans, sp)
			}
			for _, k := range u.in(sp) {
				if k.lost.exists {
					u.change(k, version{})
				}
			}
		case op.GetRequestTxn() != nil:
			u.ops(nested[0])
			nested = nested[1:]
		}
	}
}

func (u *under) put(q *pb.PutRequest) {
	k := u.keys[string(q.Key)]
	v := version{exists: true, mod: u.at, create: u.at, number: 1, lease: q.Lease, value: q.Value}
	switch {
	case !k.sure:
		v.vague = true
	case k.lost.exists:
		v.create, v.number, v.vague = k.lost.create, k.lost.number+1, k.lost.vague
	}
	if q.IgnoreValue {
		v.value = k.lost.value
	}
	if q.IgnoreLease {
		v.lease = k.lost.lease
	}
	u.change(k, v)
}
