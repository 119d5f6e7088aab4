package ballot

import (
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Holder asks the voters to support this region, on the leader of the primary, and knows what that entitles it to. It
// is not safe for concurrent use.
type Holder struct {
	id     string
	now    Instant
	view   HolderView
	reign  timeline.Reign
	voters []Support         // one of each that was asked
	call   uint64            // the last one
	mark   timeline.Mark     // of the charter
	floor  timeline.Position // up to there may be acknowledged what no voter of this charter was told of
	asked  timeline.Position // the highest ceiling that was asked for under it
	hold   *timeline.Hold    // of the charter
	began  Instant           // that was seen first
	ends   timeline.Position // up to there may have been acknowledged when it was to end, by any leader
	limit  timeline.Position // up to there may be acknowledged meanwhile
	held   bool              // at the end of the step before
	over   bool              // it was, and is no more
	out    []Effect
}

// HolderView is what the leader of a region sees.
type HolderView struct {
	Term    uint64 // in which it leads; zero: it does not
	State   *timeline.State
	Reached timeline.Position // the last position that was proposed
	Shared  timeline.Position // the highest one that a region which may be primary has acknowledged
	// Wall is the wall time, for how much of a hold is left that another leader knew first.
	Wall time.Time
	// Ending says that a charter without the hold is about to be written, or one by which others than now are to have
	// what nobody may lose: nothing counts by the hold any more, and nothing above Holder.Ends is acknowledged before.
	Ending bool
	// Stalled says that the log does not go on: what was proposed is not agreed on for half a lease. Then
	// another region had better reign.
	Stalled bool
}

// Support is what one voter promised, and what it said last.
type Support struct {
	Voter    string
	Until    Instant // the end of the promise, on this clock; zero: there is none
	Lease    Instant // the end of a lease since it was asked, which is earlier in a hold
	Ceiling  timeline.Position
	Promised timeline.Epoch // its vote, as it said last
	Why      string         // it does not promise, or does not answer; "": it does
	Since    Instant        // when it was first said so
	Silent   bool           // it does not answer: if not, and Why says something, it refuses

	ballot timeline.Nonce // of which it is said: another one of that voter has forgotten it

	gave Instant // when it was asked for the promise that it gave last
	call uint64  // the question under way; zero: none
	sent Instant
	hold time.Duration     // for how long a promise that answers it counts
	told bool              // or for as long as the answer says, if that is shorter
	free bool              // by the charter that it keeps there is no ceiling
	mark timeline.Mark     // of the charter in it
	has  timeline.Mark     // of the charter that it answered to last
	asks timeline.Position // with that
}

// Evidence is what the promises of a majority entitle the primary to: to acknowledge what is not above Ceiling, and to
// confirm reads, as primary of Epoch, before Until.
type Evidence struct {
	Epoch   timeline.Epoch
	Until   Instant
	Ceiling timeline.Position
	// Lossless says that it is by a charter under which nothing may be lost: there is no ceiling, and it entitles to
	// what is in as many regions as that says. Charter is that one, once a majority of its voters keeps it: before,
	// somebody may be voted for by the one before, of which others were to have what is acknowledged, and it entitles
	// to nothing.
	Lossless bool
	Charter  timeline.Mark
}

// NewHolder returns the holder of a region.
func NewHolder(id string) *Holder { return &Holder{id: id} }

// Renewed is the answer to a Renew; Silence says why there is none.
type Renewed struct {
	Call    uint64
	Voter   string
	Answer  Answer
	Silence string
}

// Stumbled says that a clock has jumped: no lease that was promised before counts any more. Gap is by how much the
// clocks went apart, zero if that is not known. What is promised by a hold is much longer than that, and who promised
// may be away: it counts for that much less, as if the lease clock had missed the gap (B8).
type Stumbled struct{ Gap time.Duration }

func (Renewed) input()  {}
func (Stumbled) input() {}

// Step takes one step at the reading now. The promises that it asks for count from now on: it is read before the
// questions are sent.
func (h *Holder) Step(now Instant, v HolderView, in Input) []Effect {
	reign := timeline.Latest(v.State.Reigns)
	if v.Term != h.view.Term || reign != h.reign {
		h.reign, h.mark, h.voters = reign, timeline.Mark{}, nil
	}
	if c := v.State.Charter(); c != nil && c.Mark() != h.mark {
		h.mark, h.asked, h.floor = c.Mark(), 0, acknowledged(v.State)
		h.forget(c)
		if !c.Hold.Same(h.hold) {
			h.release(c)
			h.hold, h.began = c.Hold, now-v.State.Ballot.Count.Over
		}
	}
	if v.Ending && !h.view.Ending {
		h.ends = max(v.Reached, v.State.Cursor.Position)
		h.limit = min(h.Evidence().Ceiling, h.ends)
		h.release(v.State.Charter())
	}
	h.now, h.view, h.out = now, v, nil
	switch in := in.(type) {
	case Renewed:
		h.renewed(in)
	case Stumbled:
		for i := range h.voters {
			s := &h.voters[i]
			left := max(0, s.Until-in.Gap)
			if s.Until <= s.Lease || in.Gap <= 0 { // a lease, or nobody knows how much was missed
				left = 0
			}
			s.Until, s.Lease, s.call = left, 0, 0
		}
	}
	held := h.now < h.Evidence().Until
	h.held, h.over = held, h.held && !held
	if h.reigns() && !v.Stalled {
		for i := range v.State.Charter().Voters {
			h.renew(&v.State.Charter().Voters[i])
		}
	}
	return h.out
}

// forget has nothing count that was said by a ballot in whose place c has another one.
func (h *Holder) forget(c *timeline.Charter) {
	h.voters = slices.DeleteFunc(h.voters, func(s Support) bool {
		voter := c.Voter(s.Voter)
		return voter != nil && voter.Identity != s.ballot
	})
}

// release has nothing count by the hold before any more: of a promise only what it is without, and no charter for a
// bound that is none.
func (h *Holder) release(c *timeline.Charter) {
	for i := range h.voters {
		s := &h.voters[i]
		s.Until, s.hold, s.free = min(s.Until, s.Lease), min(s.hold, c.Certain(c.Lease)), false
	}
}

// Left returns how much of the charter's hold is left, zero if there is none.
func (h *Holder) Left() time.Duration { return h.hold.Left(h.now-h.began, h.view.Wall) }

// Expired reports whether the time of the hold of c, by which the voters are asked now, is over.
func (h *Holder) Expired(c *timeline.Charter) bool { return c.Hold.Same(h.hold) && h.Left() == 0 }

// Ends returns up to where may have been acknowledged by the charter in force, once it is Ending.
func (h *Holder) Ends() timeline.Position { return h.ends }

// acknowledged returns what the region in this state may have acknowledged in its reign, as far as it knows without its
// voters: under another charter, or before there was one.
func acknowledged(s *timeline.State) timeline.Position {
	k := s.Ballot.Bound()
	if k.Epoch() == s.Cursor.Epoch && k.Ceiling != unbounded {
		return min(k.Ceiling, s.Cursor.Position)
	}
	return s.Cursor.Position
}

// reigns reports whether this region asks for support: it is primary, may write, and votes are taken.
func (h *Holder) reigns() bool {
	return h.view.Term != 0 && h.view.State.Charter() != nil && h.view.State.Writable()
}

func (h *Holder) renewed(in Renewed) {
	s := h.support(in.Voter)
	if s == nil || s.call != in.Call || h.view.State.Charter() == nil {
		return // of another reign, or too late
	}
	s.call = 0
	why := in.Silence
	if in.Answer.Why != nil {
		why = in.Answer.Why.Text
	}
	if why == "" && in.Answer.Granted {
		c := h.view.State.Charter()
		if s.told {
			s.hold = min(s.hold, c.Certain(max(c.Lease, in.Answer.Hold)))
		}
		s.Until, s.Ceiling, s.has = max(s.Until, s.sent+s.hold), max(s.Ceiling, s.asks), s.mark
		s.Lease, s.gave = max(s.Lease, s.sent+min(s.hold, c.Certain(c.Lease))), s.sent
		s.free = s.mark == c.Mark() && c.Hold != nil && !h.view.Ending || s.free
	} else if s.Why == "" {
		s.Since = h.now
	}
	s.Why, s.Silent = why, in.Silence != ""
	if in.Silence == "" {
		s.Promised = in.Answer.Promised
	}
}

// renew asks a voter, if it is time to, or if the ceiling is about to be reached, or the lease is just over.
func (h *Holder) renew(voter *timeline.Voter) {
	c := h.view.State.Charter()
	s := h.support(voter.ID)
	if s == nil {
		h.voters = append(h.voters, Support{
			Voter: voter.ID, ballot: voter.Identity, sent: h.now - c.Lease, Why: "not asked yet", Since: h.now,
			Silent: true,
		})
		s = &h.voters[len(h.voters)-1]
	}
	want := h.ceiling()
	if s.mark == c.Mark() && s.asks > s.Ceiling {
		want = s.asks // what it may be writing down: it would write down anything higher after that, and be late again
	}
	short := want > s.asks && h.view.Reached+margin(c) >= s.asks || s.mark != c.Mark()
	if !h.over && (s.call != 0 && h.now-s.sent < c.Lease/3 || h.now-s.sent < c.Lease/6 && !short) {
		return
	}
	h.call++
	left := h.Left()
	if voter.ID == h.id || h.view.Ending {
		left = 0 // a leader of the own region counts by nothing that its own voter did not confirm (B8)
	}
	s.told = left > 0 && c.Hold.Counted
	s.call, s.sent, s.hold, s.mark = h.call, h.now, c.Certain(max(c.Lease, left)), c.Mark()
	s.asks, h.asked = want, max(h.asked, want)
	h.out = append(h.out, Effect{Do: Renew, Call: h.call, Voter: voter.ID, Renewal: &Renewal{
		Epoch: h.reign.Epoch, Region: h.id, Term: h.view.Term, Voter: voter.Identity, Charter: *c,
		Reigns: h.view.State.Reigns, Ceiling: want, Hold: left, Held: h.held,
	}})
}

// margin is how much of a ceiling has to be left.
func margin(c *timeline.Charter) timeline.Position { return timeline.Position(c.MaxLoss / 2) }

// ceiling returns up to where this region wants to acknowledge: as far as the budget reaches beyond what a secondary
// has. Where that lags, the primary goes on nevertheless, unless the charter forbids it, and no failover happens by
// itself until it has caught up. There is nobody to wait for if no other region may take over. Where nothing may be
// lost it wants nothing: no majority of voters is without what it acknowledges, and they judge a candidate by what they
// hold.
func (h *Holder) ceiling() timeline.Position {
	c := h.view.State.Charter()
	held := max(h.view.Shared, h.reign.First-1)
	switch {
	case c.MaxLoss == 0:
		return max(h.reign.First-1, h.floor)
	case timeline.Position(c.MaxLoss) > unbounded-held:
		return unbounded
	}
	want := held + timeline.Position(c.MaxLoss)
	if (!c.StopWrites || !h.rivals(c)) && h.view.Reached+timeline.Position(c.MaxLoss/4) >= want {
		want = h.view.Reached + margin(c) + 1
	}
	return max(want, h.asked, h.floor)
}

// rivals reports whether another region may take over by c, for which writes may have to wait.
func (h *Holder) rivals(c *timeline.Charter) bool {
	return slices.ContainsFunc(c.Voters, func(v timeline.Voter) bool { return v.ID != h.id && v.Priority > 0 })
}

// unbounded is a ceiling above every position.
const unbounded = timeline.Position(timeline.NoBound)

// Evidence returns what the answers so far entitle to.
func (h *Holder) Evidence() Evidence {
	e := Evidence{Epoch: h.reign.Epoch}
	if h.view.Term == 0 || h.view.State.Charter() == nil {
		return e
	}
	c := h.view.State.Charter()
	var untils, leases []Instant
	var ceilings []timeline.Position
	var own Instant
	for i := range c.Voters {
		s := h.support(c.Voters[i].ID)
		if s == nil {
			continue
		}
		ceiling := s.Ceiling
		if s.free {
			ceiling = unbounded
		}
		if s.Voter == h.id {
			own = s.Until
		}
		untils, leases, ceilings = append(untils, s.Until), append(leases, s.Lease), append(ceilings, ceiling)
	}
	if m := c.Majority(); len(untils) >= m {
		slices.Sort(untils)
		slices.Sort(leases)
		slices.Sort(ceilings)
		k := len(untils) - m
		e.Until, e.Ceiling = max(leases[k], min(untils[k], own)), ceilings[k]
	}
	if e.Lossless = c.MaxLoss == 0; e.Lossless {
		e.Ceiling = unbounded
	}
	if h.view.Ending {
		e.Ceiling = h.limit
	}
	// By a charter of an epoch before nothing is acknowledged: its primary may have left behind a later one, by which
	// others are a majority. A majority that keeps one of this epoch follows that no more.
	if e.Lossless && c.Epoch == h.reign.Epoch && h.Known(c.Mark()) {
		e.Charter = c.Mark()
	} else if e.Lossless {
		e.Ceiling = 0
	}
	return e
}

// Supported reports whether a majority supports this region also without a hold, as it said when it was asked at since
// or later.
func (h *Holder) Supported(since Instant) bool {
	c := h.view.State.Charter()
	if c == nil {
		return false
	}
	n := 0
	for i := range c.Voters {
		if s := h.support(c.Voters[i].ID); s != nil && h.now < s.Lease && s.gave >= since {
			n++
		}
	}
	return n >= c.Majority()
}

// Away returns who is missing where Supported does not hold.
func (h *Holder) Away(since Instant) (voters []string) {
	for _, s := range h.voters {
		if h.now >= s.Lease || s.gave < since {
			voters = append(voters, s.Voter)
		}
	}
	return voters
}

// support returns what is known of a voter, nil if it was not asked.
func (h *Holder) support(voter string) *Support {
	for i := range h.voters {
		if h.voters[i].Voter == voter {
			return &h.voters[i]
		}
	}
	return nil
}

// Known reports whether a majority of the voters keeps a charter that is not older than m, by which they are asked now:
// nobody is voted for by an older one any more.
func (h *Holder) Known(m timeline.Mark) bool {
	if h.mark.Number == 0 || h.mark.Before(m) {
		return false
	}
	c, n := h.view.State.Charter(), 0
	for i := range c.Voters {
		if s := h.support(c.Voters[i].ID); s != nil && s.has == c.Mark() {
			n++
		}
	}
	return n >= c.Majority()
}

// Kept reports whether every voter keeps the charter m, by which they are asked now: nobody promises by an older one.
func (h *Holder) Kept(m timeline.Mark) bool {
	if h.mark != m || m.Number == 0 {
		return false
	}
	c := h.view.State.Charter()
	for i := range c.Voters {
		if s := h.support(c.Voters[i].ID); s == nil || s.has != c.Mark() {
			return false
		}
	}
	return true
}

// Settled reports whether the charter next, with one voter more or less, may follow (B1, B3): a majority keeps this
// one, and knows how far was acknowledged under those before. And a majority of the next one supports the primary: else
// it would be fenced by it.
func (h *Holder) Settled(next *timeline.Charter) bool {
	if !h.Known(h.mark) {
		return false
	}
	support := 0
	for i := range next.Voters {
		voter := &next.Voters[i]
		if s := h.support(voter.ID); s != nil && s.ballot == voter.Identity && h.now < s.Until {
			support++
		}
	}
	if support < next.Majority() {
		return false
	}
	c := h.view.State.Charter()
	need, n := h.ceiling(), 0
	if c.MaxLoss != 0 && c.MaxLoss != timeline.NoBound {
		need = h.view.State.Cursor.Position
	}
	for i := range c.Voters {
		if s := h.support(c.Voters[i].ID); s != nil && s.Ceiling >= need && s.has == c.Mark() {
			n++
		}
	}
	return n >= c.Majority()
}

// Supports returns what each voter promised and said last. It is the caller's.
func (h *Holder) Supports() []Support { return slices.Clone(h.voters) }

// Beaten returns the highest epoch above its own for which a voter voted, as far as was heard; zero if there is none.
// If that one never begins, this region has to begin a later one to be supported by all.
func (h *Holder) Beaten() (e timeline.Epoch) {
	for _, s := range h.voters {
		if s.Promised > h.reign.Epoch {
			e = max(e, s.Promised)
		}
	}
	return e
}
