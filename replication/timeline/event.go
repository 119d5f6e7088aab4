package timeline

import (
	"fmt"
	"slices"
	"time"
)

// EventKind names what an [Event] tells. The names are on disk and on the wire: never change one.
type EventKind string

// Events of the history or of a charter are alike in every region: their ID is the same wherever they are told.
const (
	EventEpoch   EventKind = "epoch"   // an epoch began: Region is primary in it
	EventCharter EventKind = "charter" // who votes, and how, is as Charter says: holds and pauses too
	EventAlarm   EventKind = "alarm"   // Alarm was raised or cleared, as an embedder's command said
)

// Events of the log of Region are alike on each of its nodes.
const (
	EventSealed    EventKind = "sealed"    // the primary takes no writes, for a handoff to Other
	EventUnsealed  EventKind = "unsealed"  // that was taken back: it takes writes again
	EventRefused   EventKind = "refused"   // a promise never to begin by this handoff
	EventVote      EventKind = "vote"      // the region's vote is for Other in Epoch
	EventYielded   EventKind = "yielded"   // it gave way to Other, whose epoch is Epoch
	EventDiverged  EventKind = "diverged"  // it holds Tail commands behind Position that the fleet has not
	EventKept      EventKind = "kept"      // it goes on with them after all
	EventInstalled EventKind = "installed" // its state is another's, at Position
	EventSlotLost  EventKind = "slot-lost" // log is not kept for Other any more: it has to bootstrap
	EventSlotBack  EventKind = "slot-back" // it is again
)

// Events that a node saw have no ID: nobody else can tell them.
const (
	EventLeads    EventKind = "leads"     // it leads its region, in Term
	EventStepped  EventKind = "stepped"   // it does not lead it any more
	EventFenced   EventKind = "fenced"    // the primary that it leads has no lease, and acknowledges nothing
	EventUnfenced EventKind = "unfenced"  // it has one
	EventTookOver EventKind = "took-over" // its region, by votes, since Other was silent
	EventFailback EventKind = "failback"  // its region hands over to Other, of a higher priority, by itself
	// EventOrdered is of an operator's order to this node, when it ended.
	EventOrdered EventKind = "ordered"
	EventStarted EventKind = "started" // the node serves, and runs the version in Text
	EventGap     EventKind = "gap"     // events are missing here, as Text says
)

// Event is something that was decided about a fleet, or that a node saw of it, for people: nothing is decided by it.
// It travels and is kept as JSON: fields are added, never changed.
type Event struct {
	// ID is the same for the same decision, whoever tells of it; empty for what a node saw.
	ID       string    `json:"id,omitempty"`
	Kind     EventKind `json:"kind"`
	Region   string    `json:"region,omitempty"` // that decided it, or whose node saw it; of an epoch its primary
	Other    string    `json:"other,omitempty"`  // the other one; of an epoch and of took-over the primary before
	Epoch    Epoch     `json:"epoch,omitempty"`
	Position Position  `json:"position,omitempty"` // of an epoch the last one before it
	Handoff  uint64    `json:"handoff,omitempty"`
	Lossy    bool      `json:"lossy,omitempty"`
	// Tail is how many commands a region has behind Position that the fleet's history has not.
	Tail uint64 `json:"tail,omitempty"`
	// Back says of installed that the region went back to its own fork, and of vote that the primary moves by itself.
	Back     bool     `json:"back,omitempty"`
	ByItself bool     `json:"byItself,omitempty"`
	Charter  *Charter `json:"charter,omitempty"`
	Alarm    *Alarm   `json:"alarm,omitempty"`
	Term     uint64   `json:"term,omitempty"`
	// AtMostLost is how many acknowledged commands a failover has lost at most, by what the voters know; nil: they do
	// not, or nobody voted. Silent is for how long the primary before had not been heard by who took over.
	AtMostLost *uint64       `json:"atMostLost,omitempty"`
	Silent     time.Duration `json:"silentNanos,omitempty"`
	Order      *Order        `json:"order,omitempty"`
	Text       string        `json:"text,omitempty"`
	// Learned says that the node came to know of it by a state, as at a start or by a copy: it was decided before, and
	// when is not known here.
	Learned bool `json:"learned,omitempty"`
}

// Alarm is one that a member raised, or that was cleared.
type Alarm struct {
	Kind   string `json:"kind"`
	Member uint64 `json:"member"` // its Raft identity
	Raised bool   `json:"raised"`
}

// Order is what an operator ordered, and how it ended.
type Order struct {
	Op     string        `json:"op"`             // switchover, failover, …
	By     string        `json:"by,omitempty"`   // who, as the audit log has him
	What   string        `json:"what,omitempty"` // what it was about, in words
	Err    string        `json:"err,omitempty"`  // why it came to nothing; empty: it was done
	Pause  time.Duration `json:"pauseNanos,omitempty"`
	Behind *uint64       `json:"behind,omitempty"` // commands that the new primary is known to lack, a lower bound
	Loss   string        `json:"loss,omitempty"`   // what is known to be lost, in words
}

// Between returns what one entry of the region's log decided that led from before to after, in order. It is the same on
// every node of the region.
func Between(before, after *State) []Event {
	list := begun(before, after)
	reigns := len(list) > 0
	for i := range list {
		list[i].Learned = after.Base.Index > before.Base.Index // they came with a copy
	}
	list = append(list, handed(before, after, reigns)...)
	list = append(list, gaveWay(before, after)...)
	list = append(list, voting(before, after, reigns)...)
	return append(list, slotted(before, after)...)
}

// Learned returns what a state tells of decisions of before that were not seen one by one: beginnings of epochs, and
// the charter.
func Learned(before, after *State) []Event {
	list := append(begun(before, after), ofCharter(before, after)...)
	for i := range list {
		list[i].Learned = true
	}
	return list
}

func begun(before, after *State) (list []Event) {
	for i, r := range after.Reigns {
		if slices.Contains(before.Reigns, r) {
			continue
		}
		e := Event{
			ID: fmt.Sprintf("epoch/%d/%s/%x", r.Epoch, r.Primary, r.Nonce[:]), Kind: EventEpoch, Region: r.Primary,
			Epoch: r.Epoch, Position: max(r.First, 1) - 1, Handoff: r.Handoff, Lossy: r.Lossy,
		}
		if i > 0 {
			e.Other = after.Reigns[i-1].Primary
		}
		list = append(list, e)
	}
	return list
}

// handed tells of handoffs.
func handed(before, after *State, reigns bool) (list []Event) {
	is, was := after.Seal, before.Seal
	if is != nil && (was == nil || *is != *was) {
		list = append(list, Event{
			ID: after.id(EventSealed, is.Epoch, is.Handoff), Kind: EventSealed, Region: after.Region, Other: is.To,
			Epoch: is.Epoch, Position: is.Position, Handoff: is.Handoff,
		})
	}
	if was != nil && is == nil && !reigns && after.Yielded == before.Yielded && after.Diverged == nil {
		list = append(list, Event{
			ID: after.id(EventUnsealed, was.Epoch, was.Handoff), Kind: EventUnsealed, Region: after.Region,
			Other: was.To, Epoch: was.Epoch, Position: was.Position, Handoff: was.Handoff,
		})
	}
	if no := after.Refused; no != before.Refused {
		list = append(list, Event{
			ID: after.id(EventRefused, no.Epoch, no.Handoff), Kind: EventRefused, Region: after.Region,
			Epoch: no.Epoch, Handoff: no.Handoff,
		})
	}
	return list
}

// gaveWay tells of higher claims, forks, and what took the place of the state.
func gaveWay(before, after *State) (list []Event) {
	is, was := after.Diverged, before.Diverged
	switch claim := after.Yielded; {
	case is != nil && was == nil:
		list = append(list, Event{
			ID:   after.id(EventDiverged, is.Claim.Epoch, uint64(is.Fork), uint64(is.At)),
			Kind: EventDiverged, Region: after.Region, Other: is.Claim.Primary, Epoch: is.Claim.Epoch,
			Position: is.Fork, Tail: uint64(is.At - min(is.Fork, is.At)),
		})
	case claim != before.Yielded && before.Role() == Primary: // who is none gives nothing up
		list = append(list, Event{
			ID: after.id(EventYielded, claim.Epoch) + fmt.Sprintf("/%x", claim.Nonce[:]), Kind: EventYielded,
			Region: after.Region, Other: claim.Primary, Epoch: claim.Epoch, Position: after.Cursor.Position,
		})
	}
	installed := after.Base.Index > before.Base.Index
	if was != nil && is == nil && !installed {
		list = append(list, Event{
			ID:   after.id(EventKept, was.Claim.Epoch, uint64(was.Fork), uint64(was.At)),
			Kind: EventKept, Region: after.Region, Other: was.Claim.Primary, Epoch: was.Claim.Epoch,
			Position: was.At, Tail: uint64(was.At - min(was.Fork, was.At)),
		})
	}
	if installed {
		e := Event{
			ID: after.id(EventInstalled, 0, after.Base.Index), Kind: EventInstalled, Region: after.Region,
			Epoch: after.Cursor.Epoch, Position: after.Base.Position,
		}
		if was != nil {
			e.Tail, e.Back = uint64(was.At-min(was.Fork, was.At)), after.Base.Position == was.Fork
		}
		list = append(list, e)
	}
	return list
}

// voting tells of the charter and of the region's vote. A seal says whom the vote is for, and so does an epoch.
func voting(before, after *State, reigns bool) []Event {
	list := ofCharter(before, after)
	is, was := after.Ballot, before.Ballot
	if is == nil || was == nil || is.Promised <= was.Promised || reigns || after.Seal != nil && before.Seal == nil {
		return list
	}
	return append(list, Event{
		ID: after.id(EventVote, is.Promised, is.Handoff) + "/" + is.For, Kind: EventVote, Region: after.Region,
		Other: is.For, Epoch: is.Promised, Handoff: is.Handoff,
		ByItself: slices.ContainsFunc(is.Moves, func(m Move) bool { return m.Epoch == is.Promised }),
	})
}

func ofCharter(before, after *State) []Event {
	c := after.Charter()
	if c == nil || before.Charter() != nil && !before.Charter().Mark().Before(c.Mark()) {
		return nil
	}
	is := *c
	return []Event{{
		ID: fmt.Sprintf("charter/%d/%d", c.Epoch, c.Number), Kind: EventCharter, Epoch: c.Epoch, Charter: &is,
	}}
}

func slotted(before, after *State) (list []Event) {
	for _, s := range after.Slots {
		lost := slices.ContainsFunc(before.Slots, func(o Slot) bool { return o.Region == s.Region && o.Lost })
		if s.Lost == lost {
			continue
		}
		kind := EventSlotBack
		if s.Lost {
			kind = EventSlotLost
		}
		list = append(list, Event{
			ID: after.id(kind, after.Cursor.Epoch, uint64(s.Position), uint64(after.Cursor.Position)) + "/" +
				s.Region,
			Kind: kind, Region: after.Region, Other: s.Region, Epoch: after.Cursor.Epoch, Position: s.Position,
		})
	}
	return list
}

// id names a decision of the region's log by what it is about.
func (s *State) id(kind EventKind, e Epoch, more ...uint64) string {
	id := fmt.Sprintf("%s/%s/%d", s.Region, kind, e)
	for _, n := range more {
		id += fmt.Sprintf("/%d", n)
	}
	return id
}
