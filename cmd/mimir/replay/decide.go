package replay

import (
	"context"
	"fmt"
)

// decide says what becomes of the command that was just evaluated, and does it.
func (r *run) decide(ctx context.Context, c *Command, e *effect) error {
	entry := &Entry{Command: c}
	for _, w := range e.writes {
		entry.Keys = append(entry.Keys, []byte(w.key.name))
	}
	for _, k := range e.maybe {
		entry.Keys = append(entry.Keys, []byte(k.name))
	}
	if entry.Lease = e.revoke; e.grant != nil {
		entry.Lease = e.grant.ID
	}
	err := r.verdict(ctx, e, entry)
	if err != nil {
		return err
	}
	if entry.Verdict != Applied && entry.Verdict != Applies && entry.Verdict != There {
		r.block(e, c.place(), entry.Verdict)
	}
	r.summary.add(entry.Verdict)
	return r.Report(entry)
}

// block keeps from what a command left undone all that builds on it.
func (r *run) block(e *effect, place string, v Verdict) {
	why := fmt.Sprintf("it builds on the %s at %s", v, place)
	for _, w := range e.writes {
		if w.key.place < w.stage && w.key.blocked == "" {
			w.key.blocked = why
		}
	}
	for _, k := range e.maybe {
		if k.blocked == "" {
			k.blocked = why
		}
	}
}

func (r *run) verdict(ctx context.Context, e *effect, entry *Entry) error {
	switch {
	case e.nothing():
		entry.Verdict = Nothing
		return nil
	case e.kept != "":
		entry.Verdict, entry.Reason = NotReplayed, e.kept
		return nil
	case e.byHand != "":
		return r.conflict(ctx, entry, e.byHand)
	case e.unknown != "" && e.likelyThere():
		entry.Verdict, entry.Reason = There, "today's history has what it would have written"
		return nil
	case e.unknown != "":
		entry.Verdict, entry.Reason = Conflict, "what it did cannot be known: "+e.unknown
		return r.describeMaybe(ctx, e, entry)
	case e.grant != nil:
		return r.grantLease(ctx, e, entry)
	}
	missing := r.missing(e)
	switch {
	case len(e.writes) == 0 && len(r.Only) > 0:
		entry.Verdict, entry.Reason = LeftOut, "it writes no key"
		return nil
	case len(missing) == 0 && e.revoke == 0:
		entry.Verdict = There
		return nil
	}
	for _, w := range e.writes {
		if !r.selects(w.key.name) {
			entry.Verdict, entry.Reason = LeftOut, fmt.Sprintf("it writes %q", w.key.name)
			return nil
		}
	}
	if differ := r.differences(e); len(differ) > 0 {
		return r.conflict(ctx, entry, "", differ...)
	}
	if e.mayBeExpiry != "" {
		return r.because(ctx, e, entry, e.mayBeExpiry, nil)
	}
	return r.apply(ctx, e, entry, missing)
}

// likelyThere reports whether today's history has all that a command may have written, or what came after it.
func (e *effect) likelyThere() bool {
	for _, k := range e.maybe {
		if k.place < k.stage {
			return false
		}
	}
	return len(e.maybe) > 0
}

// missing are the writes that today's history does not have.
func (r *run) missing(e *effect) (missing []write) {
	for _, w := range e.writes {
		if w.key.place < w.stage {
			missing = append(missing, w)
		}
	}
	return missing
}

// obstacle is a key that is not as a command needs it.
type obstacle struct {
	key    *key
	reason string
	lost   *version
}

// differences are the keys of a command that are not as the command found them.
func (r *run) differences(e *effect) (differ []obstacle) {
	check := func(k *key, stage int, lost *version) {
		switch {
		case k.place >= stage:
		case k.blocked != "":
			differ = append(differ, obstacle{k, k.blocked, lost})
		case !k.known:
			differ = append(differ, obstacle{k, "it was changed since, or what it was at the fork is compacted", lost})
		default:
			differ = append(differ, obstacle{k, "it was changed since the fork", lost})
		}
	}
	for i := range e.writes {
		check(e.writes[i].key, e.writes[i].stage-1, &e.writes[i].now)
	}
	for i := range e.relied {
		check(e.relied[i].key, e.relied[i].stage, &e.relied[i].was)
	}
	return differ
}

// conflict makes an entry one, and describes what is in the way.
func (r *run) conflict(ctx context.Context, entry *Entry, reason string, differ ...obstacle) error {
	entry.Verdict, entry.Reason = Conflict, reason
	now, err := r.look(ctx, namesIn(differ))
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, d := range differ {
		if seen[d.key.name] || len(entry.Differences) >= maxDifferences {
			continue
		}
		seen[d.key.name] = true
		one := Difference{Key: []byte(d.key.name), Reason: d.reason, Lost: valueOf(d.lost)}
		if d.key.known {
			one.Fork = valueOf(&d.key.fork)
		}
		if i < len(now) {
			v := versionOf(now[i])
			one.Today = valueOf(&v)
		}
		entry.Differences = append(entry.Differences, one)
	}
	return nil
}

// maxDifferences is how many keys are told of one command.
const maxDifferences = 100

func valueOf(v *version) *Value {
	if v == nil {
		return nil
	}
	out := &Value{Exists: v.exists}
	if v.exists {
		out.Value, out.Lease = v.value, v.lease
		if low, high := v.mod.bounds(); low == high {
			out.Revision = low
		}
		if !v.vague {
			out.Version = v.number
		}
	}
	return out
}

// describeMaybe tells of a command of which is not known what it did, as far as it can be told.
func (r *run) describeMaybe(ctx context.Context, e *effect, entry *Entry) error {
	var differ []obstacle
	for _, k := range e.maybe {
		if k.blocked != "" {
			differ = append(differ, obstacle{k, k.blocked, nil})
		} else {
			differ = append(differ, obstacle{k, "it may have been written", nil})
		}
	}
	return r.conflict(ctx, entry, entry.Reason, differ...)
}
