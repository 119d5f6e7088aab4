package sim

import (
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// fastest is how much faster than time a clock may run.
const fastest = slowestRate + rateSpan

// checkLeases checks that every lease lived for as long as was said and not for ever, and that its key went with it,
// once (invariant 12).
func (e *evidence) checkLeases(end *place, wrong report) {
	if len(e.holders) == 0 {
		return
	}
	history, err := historyOf(end)
	if err != nil {
		wrong("12", "replaying the final history for leases: %v", err)
		return
	}
	path := end.path()
	if e.fleet.hasUsers() {
		if path, err = withoutRefused(path); err != nil {
			wrong("12", "replaying the final history for leases and users: %v", err)
			return
		}
	}
	for _, h := range e.holders {
		for _, l := range h.leases {
			if ended := l.check(path, e.plan.inject[injectSkew], wrong); ended {
				e.fleet.happened.note(injectLease)
			}
			l.checkKey(history, wrong)
		}
	}
}

// withoutRefused leaves out of a history the grants and revocations that did nothing: who asked for them was judged by
// users that had changed since.
func withoutRefused(path []*place) (did []*place, err error) {
	s, err := newReplay()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for _, p := range path {
		before := len(s.Leases())
		if err := applyTo(s, p); err != nil {
			return nil, err
		}
		q := new(command.Request)
		if p.data != "" {
			err = q.Decode([]byte(p.data))
		}
		if err != nil {
			return nil, err
		}
		if q.Grant == nil && q.Revoke == nil || len(s.Leases()) != before {
			did = append(did, p)
		}
	}
	return did, nil
}

// check looks at what the final history did with a lease, and reports whether it expired.
func (l *held) check(path []*place, skewed bool, wrong report) (expired bool) {
	grant := string(command.EncodeLeaseGrant(&pb.LeaseGrantRequest{ID: l.id, TTL: int64(l.ttl / time.Second)}))
	revoke := string(command.EncodeLeaseRevoke(&pb.LeaseRevokeRequest{ID: l.id}))
	alone := string(command.EncodeLeaseExpiry(l.id, command.Alone))
	goesOn := string(command.EncodeLeaseExpiry(l.id, command.GoesOn))
	begins := string(expiryPart(l.id, command.Begins))
	least := l.ttl
	if skewed {
		least = time.Duration(float64(l.ttl) / fastest)
	}
	var granted, reign, began *place
	var reigns []*place
	for _, p := range path {
		asked, _, _, _ := command.Unwrap([]byte(p.data)) // whoever asked; what is malformed is nothing of this
		switch {
		case p.reign != nil:
			reign = p
			reigns = append(reigns, p)
		case string(asked) == grant:
			granted = p
		case granted == nil:
		case string(asked) == revoke:
			l.checkDead(began, p, reigns, wrong)
			return false
		case p.data == begins && began == nil, p.data == alone && began == nil:
			l.checkExpiry(p, granted, reign, reigns, least, wrong)
			began, expired = p, p.data == alone
		case p.data == goesOn && began == nil:
			wrong("12", "lease %d ended at %v as one whose end had begun, and it had not", l.id, p)
			return true
		case p.data == alone, p.data == goesOn:
			l.checkDead(began, p, reigns, wrong)
			expired = true
		}
		if expired {
			return true
		}
	}
	if granted != nil {
		l.checkDead(began, nil, reigns, wrong)
		wrong("12", "lease %d, granted at %v, does not end although nobody keeps it alive", l.id, granted)
	}
	return false
}

// checkExpiry checks that a lease expired no sooner than it may: it has its full time from when it was granted, from
// when its primary became that, and from each renewal that was answered. A renewal by a primary that did not know yet
// that another one was forced does not count.
func (l *held) checkExpiry(
	at, granted, reign *place, reigns []*place, least time.Duration, wrong report,
) {
	early := func(from time.Time, what string) {
		if lived := at.when.Sub(from); lived < least-time.Millisecond {
			wrong("12", "lease %d expired at %v, %v after %s; it had %v", l.id, at, lived, what, l.ttl)
		}
	}
	early(granted.when, "it was granted")
	early(reign.when, "its primary began to be one")
	for _, r := range l.renewals {
		for i, q := range reigns {
			if q.epoch != r.Epoch || q.reign.Primary != r.Primary {
				continue
			}
			if i+1 == len(reigns) || r.asked.Before(reigns[i+1].when) {
				early(r.asked, "a renewal that was answered")
			}
		}
	}
}

// checkDead checks that nobody kept a lease alive between the beginning of its end, if it had one, and the completion
// or revocation, if that came: no primary of then or later.
func (l *held) checkDead(began, ended *place, reigns []*place, wrong report) {
	if began == nil {
		return
	}
	for _, r := range l.renewals {
		is := slices.ContainsFunc(reigns, func(q *place) bool {
			return q.epoch == r.Epoch && q.reign.Primary == r.Primary && r.Epoch >= began.epoch
		})
		if is && r.asked.After(began.when) {
			until := "it did not come to"
			if ended != nil {
				until = ended.String()
			}
			wrong("12", "lease %d was kept alive at %v, after the beginning of its end at %v, which is at %s", l.id,
				r.asked, began, until)
		}
	}
}

// checkKey checks that the key of a lease was deleted once, after the last time that it was written.
func (l *held) checkKey(history []*mvccpb.Event, wrong report) {
	var kinds strings.Builder
	for _, ev := range history {
		if string(ev.Kv.Key) == l.key {
			kinds.WriteString(ev.Type.String()[:1])
		}
	}
	if s := kinds.String(); s != "" && strings.TrimLeft(s, "P") != "D" {
		wrong("12", "the key of lease %d was written and deleted in the order %q", l.id, s)
	}
}
