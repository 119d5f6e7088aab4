package succession

import (
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Deed is what an Effect does.
type Deed string

// Deeds. What came of one is told by the Input named beside it; of those without, nothing is told.
const (
	// Propose takes Control through the region's log: seal, unseal, refuse, yield, diverge, install, cut. Decided.
	Propose Deed = "propose"
	// Begin takes Reign through the region's log, at the place that is applied. Decided.
	Begin Deed = "begin"
	// Elect asks for votes for Reign; the own region's is asked for first, by VoteAsked. Elected.
	Elect Deed = "elect"
	// AskBegin asks the leader of Handover.To to begin, until Until. Answered.
	AskBegin Deed = "ask begin"
	// AskRefuse asks it to refuse, until Until. Answered.
	AskRefuse Deed = "ask refuse"
	// Stream follows Source from where the region is. Ended.
	Stream Deed = "stream"
	// Fetch takes a copy of Source, whose history has at least Epoch. Ended.
	Fetch Deed = "fetch"
	// Stage brings the copy Copy to a majority of the region's nodes. Ended.
	Stage Deed = "stage"
	// Rewind has a majority of the region's nodes make the state at the fork from what they have themselves, with those
	// of Reigns that begin there. Ended, with a copy that needs no Stage.
	Rewind Deed = "rewind"
	// Stop hastens the end of the Stream, Fetch, Stage or Rewind with this ID; it is told once, as without it.
	Stop Deed = "stop"
	// Answer gives Reply to the caller of Call.
	Answer Deed = "answer"
	// Refresh has the other regions asked anew.
	Refresh Deed = "refresh"
)

// Effect is something to be done. Effects of one step are begun in their order.
type Effect struct {
	Do       Deed
	ID       uint64 // under which it is told what came of it
	Term     uint64 // in which it was decided
	Control  *timeline.Control
	Reign    timeline.Reign // Epoch, Primary, Handoff and Lossy; the place is where the region is
	Handover Handover
	Source   string
	Epoch    timeline.Epoch
	Copy     string
	Reigns   []timeline.Reign
	Until    Instant
	Call     uint64
	Reply    Reply
	Why      string // of a Stop: what is worth a line to people, or ""
	Operator bool   // of an Elect: somebody ordered it
	// Accept is how many acknowledged commands he accepts to be lost; timeline.NoBound: any.
	Accept uint64
}

// Reply is the answer to a Switchover, Takeover, BeginAsked, RefuseAsked or VoteAsked.
type Reply struct {
	// Reign is the one that has begun: by the handoff, or by force.
	Reign *timeline.Reign
	// Refused says that the region promised never to begin by the handoff.
	Refused bool
	// Outcome is what became of a vote, and Why it was refused.
	Outcome timeline.Outcome
	Why     string
	// End is the last position of the epoch before, of a Switchover.
	End timeline.Position
	// Mandate is what the voters know of what was lost, of a Takeover where votes are taken.
	Mandate *timeline.Mandate
	// Pause is for how long no region took writes, of a Switchover.
	Pause time.Duration
	// Err is why there is nothing of the above. Errors are of package contract.
	Err error
}
