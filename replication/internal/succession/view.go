package succession

import (
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Instant is a reading of a clock that never goes back. Only differences mean anything.
type Instant = time.Duration

// View is what a node sees when it takes a step. It is not changed afterwards.
type View struct {
	// Term is the one in which this node leads its region and has applied everything before it; zero: it does not
	// lead.
	Term  uint64
	State *timeline.State // applied here
	Fleet Fleet
	// Changing is a change of the regions, or of the charter, that is under way on this node, for people; "": none is.
	Changing string
	// Charting says that a charter is on its way to the log.
	Charting bool
	// Rewinds says that the nodes of this region may be able to go back by what they have themselves.
	Rewinds bool
}

// Fleet is what was heard of the other regions, reduced to what decides.
type Fleet struct {
	Claim   timeline.Reign // the highest claim that was heard
	Leaders map[string]Sight
	// Silent are the regions without a leader that answers, with the reason; at first all of them.
	Silent map[string]string
}

// Sight is what the leader of another region said last.
type Sight struct {
	Role   timeline.Role
	Cursor timeline.Cursor
	Reigns []timeline.Reign
	Sealed *timeline.Seal
	// Ballot is the identity of its ballot, zero if it has none; nil if it is not known.
	Ballot *timeline.Nonce
	// Charter is the one that it keeps; zero: it has none, or, where its ballot is not known, nor is that.
	Charter timeline.Mark
	// Roster is the one by which it knows the regions, zero if it has none.
	Roster timeline.RosterMark
	// Follows is the region that serves it by now, "" if none does, or it is not known.
	Follows string
	// Forming says that it is about to begin the first epoch of a new fleet, and Asked when it was asked.
	Forming bool
	Asked   Instant
}

// Handover is what the two regions of a switchover say to each other. It travels as JSON: never change a name.
type Handover struct {
	From    string          `json:"from"`
	To      string          `json:"to"`
	Epoch   timeline.Epoch  `json:"epoch"` // that ends
	Handoff uint64          `json:"handoff"`
	End     timeline.Cursor `json:"end"` // where it ends
	// Charter is that of the primary; zero: no votes are taken, or it is too old to say.
	Charter timeline.Mark `json:"charter,omitzero"`
	// Roster is that of the primary, without which the target does not begin; zero: it has none that is ranked.
	Roster timeline.RosterMark `json:"roster,omitzero"`
}

// unlisted returns why the target of a move cannot begin by the roster: whoever begins writes it anew as it has it. ""
// if it can, or if there is none that is ranked.
func (v View) unlisted(to string) string {
	r := v.State.Roster
	if r == nil || !r.Ranked {
		return ""
	}
	has := v.Fleet.Leaders[to].Roster
	switch {
	case r.Home(to) == nil:
		return fmt.Sprintf("region %s is not one of the fleet, by roster %d of epoch %d", to, r.Number, r.Epoch)
	case r.Epoch < v.State.Cursor.Epoch:
		return fmt.Sprintf("roster %d of epoch %d is being written anew in epoch %d", r.Number, r.Epoch,
			v.State.Cursor.Epoch)
	case has.Before(r.Mark()):
		return fmt.Sprintf("region %s goes by roster %d of epoch %d, and has not got %d of epoch %d yet", to,
			has.Number, has.Epoch, r.Number, r.Epoch)
	default:
		return ""
	}
}

// of reports whether h is the handoff for which a region is sealed.
func (h Handover) of(s *timeline.Seal) bool {
	return s != nil && h.To == s.To && h.Epoch == s.Epoch && h.Handoff == s.Handoff
}

// begun reports whether r is the reign that h brings about.
func (h Handover) begun(r timeline.Reign) bool {
	return r.Epoch == h.Epoch+1 && r.Primary == h.To && r.Handoff == h.Handoff
}

// begunBy returns the reign that h began in this history, nil if it did not.
func begunBy(h Handover, s *timeline.State) *timeline.Reign {
	for _, r := range s.Reigns {
		if h.begun(r) {
			return &r
		}
	}
	return nil
}

// Limits are the times and distances of a handoff.
type Limits struct {
	CatchUp  time.Duration     // how long a switchover waits, before it seals, for the target to come closer
	Settle   time.Duration     // how long it waits for one that is close to lack half of that
	Handover time.Duration     // how long the target is asked to begin, and so how long writes pause before an abort
	Abort    time.Duration     // how long a caller waits for the end of an abort
	Ask      time.Duration     // for one question
	Again    time.Duration     // between two looks at a region that is not ready yet
	Retry    time.Duration     // after something that failed
	Rewind   time.Duration     // in which the nodes have to go back to the fork by themselves
	Poll     time.Duration     // between two looks without news
	Close    timeline.Position // that the target may lack when it is sealed, if it comes no closer
	Near     timeline.Position // likewise, at once
}
