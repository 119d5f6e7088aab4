package ballot

import (
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Instant is a reading of the lease clock, which runs also while the machine is suspended. Only differences mean
// anything.
type Instant = time.Duration

// Renewal asks a voter to support the primary of an epoch for as long as a lease. It travels as JSON.
type Renewal struct {
	Epoch  timeline.Epoch `json:"epoch"`
	Region string         `json:"region"`
	Term   uint64         `json:"term"` // in which its leader asks
	// Voter is the identity of the ballot that the charter has for the one who is asked.
	Voter   timeline.Nonce    `json:"voter"`
	Charter timeline.Charter  `json:"charter"`
	Reigns  []timeline.Reign  `json:"reigns"`
	Ceiling timeline.Position `json:"ceiling"`
	// Hold is how much of the charter's hold is left: the promise is for so long, if that is longer than the lease.
	Hold time.Duration `json:"hold,omitempty"`
	// Held says that the holder has a lease: it hears a majority.
	Held bool `json:"held"`
}

// Answer is what a voter says to a Renewal or a Candidacy. It travels as JSON.
type Answer struct {
	// Granted says that the promise is given, or the vote; to a preliminary question that the vote would be.
	Granted bool `json:"granted"`
	// Hold is for how long the promise is, if that is longer than the lease, by a hold that is counted.
	Hold time.Duration       `json:"hold,omitempty"`
	Why  *timeline.Objection `json:"why,omitempty"`
	// Promised and For are the vote that the voter has given.
	Promised timeline.Epoch `json:"promised"`
	For      string         `json:"for"`
	// Left is for how long this voter may not vote as it was asked to, if that is known.
	Left     time.Duration `json:"left,omitempty"`
	Supports string        `json:"supports,omitempty"`
	// Charter is the voter's, if it is newer than that of who asks.
	Charter *timeline.Charter `json:"charter,omitempty"`
	// Cursor and Reigns are how far the voter is, and Known what it knows of the primary: to a preliminary question.
	Cursor timeline.Cursor  `json:"cursor,omitzero"`
	Reigns []timeline.Reign `json:"reigns,omitempty"`
	Known  timeline.Known   `json:"known,omitzero"`
	// Late says that the voter's region shows its history late: it becomes primary by order alone.
	Late bool `json:"late,omitempty"`
	// Moves are those of the primary by itself for which the voter voted.
	Moves []timeline.Move `json:"moves,omitempty"`
	// Ruler is whom this voter supports, as far as its process remembers.
	Ruler Ruler `json:"ruler,omitzero"`
}

// Input is what happened before a step; nil: nothing but the passing of time.
type Input interface{ input() }

// Deed is what an Effect does.
type Deed string

// Deeds of a Voter; of a Holder; of a Candidate.
const (
	// Confirm has the region confirm that this process leads it, and everything applied that was committed before. A
	// witness is always confirmed. Confirmed.
	Confirm Deed = "confirm"
	// Record makes Control durable: through the region's log, or in the witness' file. Recorded.
	Record Deed = "record"
	// Reply gives Answer to the caller of Call.
	Reply Deed = "reply"

	// Renew sends Renewal to Voter. Renewed.
	Renew Deed = "renew"

	// Sound asks Voter for what it would say to Candidacy. Sounded.
	Sound Deed = "sound"
	// Stand has the region ask for votes in Epoch, and begin it if a majority votes for it. Stood.
	Stand Deed = "stand"
)

// Effect is something to be done. What came of it is told by the input named with the deed.
type Effect struct {
	Do        Deed
	Call      uint64
	Control   *timeline.Control
	Answer    Answer
	Voter     string
	Renewal   *Renewal
	Candidacy *timeline.Candidacy
	Epoch     timeline.Epoch
}
