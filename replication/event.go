package replication

import "github.com/mimir-kv/mimir/replication/timeline"

// Event is something that was decided about the fleet, or that a node saw of it, for people: nothing is decided by it.
// Those of the history, of the charter and of a region's log have an ID, which is the same wherever they are told;
// what a node saw has none.
type Event = timeline.Event

// EventKind names what an [Event] tells.
type EventKind = timeline.EventKind

// Order is what an operator ordered, in an [Event].
type Order = timeline.Order

// AlarmEvent is an alarm that was raised or cleared, in an [Event].
type AlarmEvent = timeline.Alarm

// Kinds of events; package timeline says what each means.
const (
	EventEpoch     = timeline.EventEpoch
	EventCharter   = timeline.EventCharter
	EventAlarm     = timeline.EventAlarm
	EventSealed    = timeline.EventSealed
	EventUnsealed  = timeline.EventUnsealed
	EventRefused   = timeline.EventRefused
	EventVote      = timeline.EventVote
	EventYielded   = timeline.EventYielded
	EventDiverged  = timeline.EventDiverged
	EventKept      = timeline.EventKept
	EventInstalled = timeline.EventInstalled
	EventSlotLost  = timeline.EventSlotLost
	EventSlotBack  = timeline.EventSlotBack
	EventLeads     = timeline.EventLeads
	EventStepped   = timeline.EventStepped
	EventFenced    = timeline.EventFenced
	EventUnfenced  = timeline.EventUnfenced
	EventTookOver  = timeline.EventTookOver
	EventFailback  = timeline.EventFailback
	EventOrdered   = timeline.EventOrdered
	EventStarted   = timeline.EventStarted
	EventGap       = timeline.EventGap
)
