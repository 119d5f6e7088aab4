package ballot

import (
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Voter is what one process keeps beside the ballot of its region or witness. It is not safe for concurrent use.
type Voter struct {
	id    string
	term  uint64  // in which it speaks for the voter; zero: it does not
	since Instant // when it began to
	out   []Effect

	// The promise: no vote for another region than this one before until.
	until    Instant
	others   Instant // the end of promises to other regions, which a handoff passed over
	lived    Instant // as until, but of primaries only that said that they hear a majority
	fenced   bool    // the primary that it supports is, as its leader said, from alone on
	alone    Instant
	held     heldBy // by which it promised for longer than a lease
	count    count
	before   *timeline.Hold // by which who spoke for the voter before may have promised
	noted    *timeline.Hold // of which this process noted how much is over, since it speaks for the voter
	noting   bool           // a note is on its way that nobody asked for
	next     Instant        // not before there is another one
	epoch    timeline.Epoch
	region   string
	maxTerm  uint64 // of those in which a leader of that region renewed
	asked    bool   // by somebody who would have the vote but for the promise, at wanted
	wanted   Instant
	voting   uint64 // the call whose vote is on its way; zero: none
	requests []request
}

// heldBy is the hold of a charter.
type heldBy struct {
	mark timeline.Mark
	hold *timeline.Hold // nil: there is none
}

// request is a renewal or a candidacy that is not answered yet.
type request struct {
	call      uint64
	at        Instant // when it came
	renewal   *Renewal
	promise   time.Duration // by its hold; zero: a lease
	counting  bool          // a note is on its way, without which that is not promised
	records   bool          // what it tells is on its way to be durable
	waits     bool          // until what another one tells is
	candidacy *timeline.Candidacy
}

// NewVoter returns the voter of a region, or of a witness, with this ID. It speaks for nobody before Leads.
func NewVoter(id string) *Voter { return &Voter{id: id} }

// Leads says that this process speaks for the voter from now on, in this term; zero: not any more.
type Leads struct{ Term uint64 }

// RenewalAsked is a Renewal that came; answered by a Reply to Call.
type RenewalAsked struct {
	Call    uint64
	Renewal *Renewal
}

// VoteAsked is a Candidacy that came; answered by a Reply to Call.
type VoteAsked struct {
	Call      uint64
	Candidacy *timeline.Candidacy
	// Sounding asks only what the answer would be, and changes nothing.
	Sounding bool
}

// Confirmed tells what came of a Confirm.
type Confirmed struct {
	Call uint64
	OK   bool
}

// Recorded tells what came of a Record. Unknown: nothing is known of it, and it may still happen.
type Recorded struct {
	Call    uint64
	Outcome timeline.Outcome
	Why     string
	Unknown bool
}

func (Leads) input()        {}
func (RenewalAsked) input() {}
func (VoteAsked) input()    {}
func (Confirmed) input()    {}
func (Recorded) input()     {}

// Step takes one step at the reading now, with the state s applied. What came is judged by that reading: it is taken
// when the message is received, before anything else.
func (v *Voter) Step(now Instant, s *timeline.State, in Input) []Effect {
	v.out = nil
	_, begins := in.(Leads)
	v.count.see(now, s.Ballot, v.term != 0 && !begins)
	v.cut(now, s)
	switch in := in.(type) {
	case Leads:
		v.leads(now, s, in.Term)
	case RenewalAsked:
		v.renewalAsked(now, s, in)
	case VoteAsked:
		v.voteAsked(now, s, in)
	case Confirmed:
		v.confirmed(now, s, in)
	case Recorded:
		v.recorded(now, s, in)
	}
	if v.term != 0 && !v.noting && now >= v.next && v.count.due(now, s) {
		v.noting = true
		v.record(noCall, v.count.note(now))
	}
	return v.out
}

// leads begins anew: who led before may have promised anything (B4).
func (v *Voter) leads(now Instant, s *timeline.State, term uint64) {
	for _, r := range v.requests {
		v.refuse(s, r.call, objection(timeline.ReasonTerm, "%s is not led by this process any more", v.id))
	}
	*v = Voter{id: v.id, term: term, since: now, count: v.count, before: v.count.hold, out: v.out}
}

// noCall is that of a note that nobody asked for.
const noCall = 0

func objection(r timeline.Reason, format string, args ...any) *timeline.Objection {
	return &timeline.Objection{Reason: r, Text: fmt.Sprintf(format, args...)}
}

func (v *Voter) renewalAsked(now Instant, s *timeline.State, in RenewalAsked) {
	r := in.Renewal
	if o := v.against(s, r); o != nil {
		v.refuse(s, in.Call, o)
		return
	}
	lease := r.Charter.Lease // what the holder counts by, whatever this voter has
	wanted := v.asked && now-v.wanted < lease
	alone := now
	if v.fenced && (wanted || now < v.until) && r.Epoch == v.epoch && r.Region == v.region && r.Term == v.maxTerm {
		alone = v.alone
	}
	// One renewal that was lost, or answered late, is forgiven: it is repeated after a third of a lease.
	deaf := !r.Held && now-alone >= lease/3+settles(lease)
	bound := r.Region == v.region && v.until > now+lease // by a hold: to refuse sets nobody free
	if deaf && wanted && !bound {                        // B5
		v.refuse(s, in.Call, objection(timeline.ReasonDeaf, "%s holds no lease, and another region asks for votes",
			r.Region))
		return
	}
	asked := request{call: in.Call, at: now, renewal: r}
	if promise := v.holds(now, r); promise > lease {
		asked.promise, v.held = promise, heldBy{r.Charter.Mark(), r.Charter.Hold}
	}
	v.promise(now+max(lease, asked.promise), r.Epoch, r.Region)
	v.maxTerm = r.Term
	if v.fenced, v.alone = !r.Held, alone; r.Held {
		v.lived = v.until
	}
	v.requests = append(v.requests, asked)
	v.out = append(v.out, Effect{Do: Confirm, Call: in.Call})
}

// settles is within what time a leader that gets a lease says so: with its next renewal. Until then it is not deaf.
func settles(lease time.Duration) time.Duration { return lease / 5 }

// holds returns for how long a renewal has this voter promise by its charter's hold: no longer than it is to last since
// the voter knows it, whoever says that so much is left.
func (v *Voter) holds(now Instant, r *Renewal) time.Duration {
	hold := r.Charter.Hold
	switch {
	case hold == nil:
		return 0
	case hold.Counted && hold.Same(v.count.hold):
		// Another process goes on from the note by a clock of its own, which may be as fast as this one is slow.
		return min(r.Hold, max(0, v.count.left-r.Charter.Outlasted(now-v.count.at)))
	}
	return min(r.Hold, hold.For)
}

// against returns why a renewal is refused, nil if it is not.
func (v *Voter) against(s *timeline.State, r *Renewal) *timeline.Objection {
	b := s.Ballot
	switch {
	case v.term == 0:
		return objection(timeline.ReasonTerm, "this process does not speak for %s", v.id)
	case b == nil || r.Voter != b.Identity:
		return objection(timeline.ReasonCharter, "%s lost its ballot: it has forgotten its votes", v.id)
	case v.foreign(s, &r.Charter):
		return elsewhere(v.id)
	case r.Epoch < b.Promised || r.Epoch == b.Promised && r.Region != b.For:
		return objection(timeline.ReasonEpoch, "%s voted for %s in epoch %d", v.id, b.For, b.Promised)
	case v.voting != 0:
		return objection(timeline.ReasonBusy, "a vote of %s is on its way", v.id)
	case r.Epoch == v.epoch && r.Region == v.region && r.Term < v.maxTerm:
		return objection(timeline.ReasonTerm, "another node leads %s by now", r.Region)
	case r.Epoch < v.epoch:
		return objection(timeline.ReasonEpoch, "%s supports %s in epoch %d", v.id, v.region, v.epoch)
	case r.Charter.Mark().Before(b.Charter.Mark()):
		return objection(timeline.ReasonCharter, "%s has a newer charter", v.id)
	}
	return nil
}

// foreign reports whether a charter is of another fleet than the one in which this witness votes. Regions are known to
// each other; to a witness two fleets may come with one name.
func (v *Voter) foreign(s *timeline.State, c *timeline.Charter) bool {
	own := s.Charter()
	return own != nil && (&timeline.Voter{ID: v.id}).Witness() && !own.Related(c, v.id)
}

func elsewhere(id string) *timeline.Objection {
	return objection(timeline.ReasonCharter, "%s votes in another fleet", id)
}

// promise extends the promise, and never cuts it short.
func (v *Voter) promise(until Instant, e timeline.Epoch, region string) {
	if region != v.region { // by a handoff, which may come to nothing: then the promise before still holds
		v.others, v.until = max(v.others, v.until), 0
	}
	if e != v.epoch || region != v.region {
		v.epoch, v.region, v.maxTerm, v.fenced = e, region, 0, false
	}
	v.until = max(v.until, until)
}

// cut ends the promise of a hold a lease from now if a later charter has another hold, or none: who wrote that does not
// count by the one before any more, and a leader of its region before it for no longer than that (B8).
func (v *Voter) cut(now Instant, s *timeline.State) {
	c := s.Charter()
	if v.held.hold == nil || c == nil || !v.held.mark.Before(c.Mark()) || c.Hold.Same(v.held.hold) {
		return
	}
	end := now + c.Promise()
	v.until, v.others, v.lived, v.held = min(v.until, end), min(v.others, end), min(v.lived, end), heldBy{}
}

// free returns why the promise forbids a vote for region, and for how long it will; nil if it does not (V2).
func (v *Voter) free(
	now Instant, s *timeline.State, c *timeline.Candidacy,
) (o *timeline.Objection, left time.Duration) {
	lease := max(s.Ballot.Charter.Guard(), c.Charter.Guard())
	switch {
	case v.voting != 0:
		return objection(timeline.ReasonBusy, "a vote of %s is on its way", v.id), 0
	case c.Handoff != 0: // the primary before is sealed, for good unless this handoff is refused
		return nil, 0
	case now < v.others:
		left = v.others - now
		return objection(timeline.ReasonPromise, "%s supports another for %v", v.id, short(left)), left
	case now < v.until && c.For != v.region:
		left = v.until - now
		what := "supports"
		if v.held.hold != nil {
			what = "holds"
		}
		return objection(timeline.ReasonPromise, "%s %s %s for %v", v.id, what, v.region, short(left)), left
	case now < v.guarded(lease) && (c.For != s.Ballot.For || s.Ballot.Handoff != 0):
		left = v.guarded(lease) - now
		return objection(timeline.ReasonGuard, "who spoke for %s before may support another for %v", v.id,
			short(left)), left
	}
	return nil, 0
}

// guarded returns until when may hold what somebody promised, for so long at most but for a hold that is counted, who
// spoke for the voter before.
func (v *Voter) guarded(promise time.Duration) Instant {
	if v.before != nil && v.before.Counted && v.before.Same(v.count.hold) {
		return max(v.since+promise, v.count.end())
	}
	return v.since + promise
}

// short is how people read a time that is left.
func short(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

func (v *Voter) voteAsked(now Instant, s *timeline.State, in VoteAsked) {
	c := in.Candidacy
	var o *timeline.Objection
	if v.term == 0 {
		o = objection(timeline.ReasonTerm, "this process does not speak for %s", v.id)
	} else {
		o = timeline.Against(s, c)
	}
	if o == nil && v.foreign(s, &c.Charter) {
		o = elsewhere(v.id)
	}
	again := o == nil && s.Charter() != nil && s.Ballot.Voted(c)
	if again && c.Charter.Mark().Before(s.Ballot.Charter.Mark()) { // a seal is a vote, whatever the target knows
		o, again = objection(timeline.ReasonCharter, "%s has a newer charter than %s", v.id, c.For), false
	}
	var left time.Duration
	if o == nil && !again {
		if o, left = v.free(now, s, c); o != nil && o.Reason == timeline.ReasonPromise {
			v.asked, v.wanted = true, now
		}
	}
	switch {
	case o != nil:
		v.reply(s, in.Call, Answer{Why: o, Left: left})
	case in.Sounding:
		v.reply(s, in.Call, Answer{Granted: true})
	case again:
		v.requests = append(v.requests, request{call: in.Call, at: now, candidacy: c})
		v.out = append(v.out, Effect{Do: Confirm, Call: in.Call})
	default:
		v.voting = in.Call
		v.requests = append(v.requests, request{call: in.Call, at: now, candidacy: c})
		v.record(in.Call, &timeline.Control{Op: timeline.OpVote, Vote: c})
	}
}

func (v *Voter) record(call uint64, c *timeline.Control) {
	v.out = append(v.out, Effect{Do: Record, Call: call, Control: c})
}

// confirmed goes on with what a quorum has confirmed, if nothing has happened meanwhile that forbids it.
func (v *Voter) confirmed(now Instant, s *timeline.State, in Confirmed) {
	r, ok := v.take(in.Call)
	if !ok {
		return
	}
	switch {
	case !in.OK:
		v.refuse(s, r.call, objection(timeline.ReasonTerm, "%s does not confirm who leads it", v.id))
	case r.candidacy != nil:
		v.voted(s, r)
	default:
		v.renew(now, s, r)
	}
}

// renew makes durable what a renewal tells, and answers it then (B3).
func (v *Voter) renew(now Instant, s *timeline.State, r request) {
	if o := v.against(s, r.renewal); o != nil {
		v.refuse(s, r.call, o)
		return
	}
	n, b := r.renewal, s.Ballot
	known := b.Known.Epoch()
	var tells *timeline.Control
	counting := false
	switch {
	case b.Charter.Mark().Before(n.Charter.Mark()):
		tells = &timeline.Control{Op: timeline.OpCharter, Charter: &n.Charter, To: n.Region}
	case r.promise > 0 && n.Charter.Hold.Counted && !n.Charter.Hold.Same(v.noted):
		tells, counting = v.count.note(now), true
	case known < n.Epoch || known == n.Epoch && b.Known.Ceiling < n.Ceiling:
		tells = &timeline.Control{
			Op: timeline.OpCeiling, Epoch: n.Epoch, To: n.Region,
			Known: &timeline.Known{Reigns: n.Reigns, Ceiling: n.Ceiling},
		}
	}
	switch {
	case tells == nil:
		v.reply(s, r.call, Answer{Granted: true, Hold: r.promise})
	case slices.ContainsFunc(v.requests, func(o request) bool { return o.records }):
		v.wait(s, r)
	default:
		r.records, r.counting = true, counting
		v.requests = append(v.requests, r)
		v.record(r.call, tells)
	}
}

// wait keeps a renewal until what another one tells is durable: a log that takes nothing is not given the same again
// with each. One waits, the last one; who asked before it has given up by then.
func (v *Voter) wait(s *timeline.State, r request) {
	if before, ok := v.waiting(); ok {
		v.refuse(s, before.call, objection(timeline.ReasonBusy, "%s writes down what it was told", v.id))
	}
	r.waits = true
	v.requests = append(v.requests, r)
}

// waiting takes the renewal that waits, if there is one.
func (v *Voter) waiting() (request, bool) {
	i := slices.IndexFunc(v.requests, func(r request) bool { return r.waits })
	if i < 0 {
		return request{}, false
	}
	r, _ := v.take(v.requests[i].call)
	r.waits = false
	return r, true
}

func (v *Voter) recorded(now Instant, s *timeline.State, in Recorded) {
	if in.Call == noCall {
		v.noting, v.next = false, now+s.Ballot.Charter.Lease
		return
	}
	r, ok := v.take(in.Call)
	if !ok {
		return
	}
	if v.voting == in.Call && !in.Unknown {
		v.voting = 0
	}
	switch {
	case in.Unknown: // a vote may still be cast: nothing else is promised in this term
		v.refuse(s, r.call, objection(timeline.ReasonTerm, "it is not known what became of it: %s", in.Why))
	case in.Outcome == timeline.Refused:
		v.refuse(s, r.call, objection(timeline.ReasonBusy, "%s", in.Why))
	case r.candidacy != nil:
		v.voted(s, r)
	default:
		if r.counting {
			v.noted = r.renewal.Charter.Hold
		}
		r.counting, r.records = false, false
		v.renew(now, s, r)
	}
	if next, ok := v.waiting(); ok {
		v.renew(now, s, next)
	}
}

// voted answers with a vote that is cast. It is a promise as well, for as long as the winner needs to ask for one: no
// lease counts from a vote, and votes that were split should not keep anybody waiting.
func (v *Voter) voted(s *timeline.State, r request) {
	c := r.candidacy
	if s.Charter() == nil || !s.Ballot.Voted(c) {
		v.refuse(s, r.call, objection(timeline.ReasonEpoch, "%s voted for %s in epoch %d meanwhile", v.id, s.Ballot.For,
			s.Ballot.Promised))
		return
	}
	v.promise(r.at+c.Charter.Lease/3, c.Epoch, c.For)
	v.asked, v.lived = false, v.until
	v.reply(s, r.call, Answer{Granted: true})
}

func (v *Voter) take(call uint64) (request, bool) {
	i := slices.IndexFunc(v.requests, func(r request) bool { return r.call == call })
	if i < 0 {
		return request{}, false
	}
	r := v.requests[i]
	v.requests = slices.Delete(slices.Clone(v.requests), i, i+1)
	return r, true
}

func (v *Voter) refuse(s *timeline.State, call uint64, o *timeline.Objection) {
	v.reply(s, call, Answer{Why: o})
}

// reply tells, beside the answer, what whoever asked has to know next.
func (v *Voter) reply(s *timeline.State, call uint64, a Answer) {
	a.Supports, a.Ruler = v.region, v.Supports()
	a.Cursor, a.Reigns, a.Late = s.Cursor, s.Reigns, s.Delay != nil
	if b := s.Ballot; b != nil {
		a.Promised, a.For, a.Known, a.Moves = b.Promised, b.For, b.Bound(), b.Moves
		if s.Charter() != nil {
			a.Charter = &b.Charter
		}
	}
	v.out = append(v.out, Effect{Do: Reply, Call: call, Answer: a})
}

// Supports returns whom this voter supported last, and in which epoch, as far as its process remembers.
func (v *Voter) Supports() Ruler { return Ruler{v.epoch, v.region} }

// Held returns for how long what may be promised by the charter's hold is not over, at most.
func (v *Voter) Held(now Instant) time.Duration {
	if h := v.count.hold; h != nil && !h.Counted && v.term != 0 { // who spoke before may have promised until then
		return max(v.count.rest(now), v.until-now, v.since+h.For-now)
	}
	if v.held.hold != nil {
		return max(v.count.rest(now), v.until-now)
	}
	return v.count.rest(now)
}

// Quiet returns from when on nothing is heard of a primary that hears a majority: then it is time to ask for votes. A
// primary that says that it hears none is no reason to wait until the promise is over: whoever is asked does not
// extend it then (B5). ok is false if this voter does not speak for its region, or has no charter.
func (v *Voter) Quiet(s *timeline.State) (at Instant, ok bool) {
	c := s.Charter()
	if v.term == 0 || c == nil {
		return 0, false
	}
	at = v.lived
	if v.fenced { // a primary that has just got its lease says so with its next renewal
		at = min(at, v.alone+max(0, settles(c.Lease)-c.Patience))
	}
	return max(at, v.others, v.guarded(c.Guard())), true
}
