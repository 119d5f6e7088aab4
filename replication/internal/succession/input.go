package succession

import "github.com/mimir-kv/mimir/replication/timeline"

// Input is what happened before a step; nil: nothing but the passing of time, or news in the view.
type Input interface{ input() }

// Switchover asks this leader of the primary to hand it over to the region To. Answered by an Answer to Call, as all
// calls are.
type Switchover struct {
	Call uint64
	To   string
}

// Abort asks this leader to take back the switchover under way, whoever asked for that. It is answered without an error
// once the region takes writes again.
type Abort struct{ Call uint64 }

// Found asks this leader to begin the first epoch of a new fleet, as soon as the leader of every other region says that
// it has no history: as long as the caller waits.
type Found struct{ Call uint64 }

// Takeover asks this leader to make its region primary by force, or by votes where they are taken.
type Takeover struct {
	Call uint64
	// Epoch is the least one to begin, where votes are taken; zero: above everything known.
	Epoch timeline.Epoch
	// Fenced says that the region is primary and takes no writes, since another one holds a part of its reign that it
	// has not: it can be made to go on with what it has.
	Fenced bool
	// Unsealed says that it is not meant for a region that is sealed for a handoff: whether to lose what the target may
	// have acknowledged is for an operator to decide.
	Unsealed bool
	// Operator says that somebody ordered it, and Accept how many acknowledged commands he accepts to be lost, where
	// votes are taken.
	Operator bool
	Accept   uint64
	// At is where the region begins instead of at its last position: what it has behind that, and shows to nobody, is
	// cut off first, and saved as a tail. Nil: at its last position.
	At *timeline.Cursor
	// Anew says that a region which is primary begins again where votes are taken, since they bar its way.
	Anew bool
}

// VoteAsked asks this leader to cast its region's vote, which Control is. What it streamed by then is applied before.
type VoteAsked struct {
	Call    uint64
	Control *timeline.Control
}

// Elected tells what came of an Elect: a majority voted for it, with what it knows, or Err says why not.
type Elected struct {
	ID      uint64
	Mandate timeline.Mandate
	Err     error
}

// BeginAsked is the question of a sealed primary to its target.
type BeginAsked struct {
	Call     uint64
	Handover Handover
}

// RefuseAsked asks the target to promise never to begin by this handoff, or to say that it has begun.
type RefuseAsked struct {
	Call     uint64
	Handover Handover
}

// GaveUp says that the caller waits no longer. It is answered nevertheless, soon.
type GaveUp struct {
	Call uint64
	Why  error
}

// Decided tells what became of a Propose or Begin.
type Decided struct {
	ID      uint64
	Outcome timeline.Outcome
	Why     string // of a refusal
	// Err says that the outcome is not known; ErrNotLeader and ErrNotReady of package contract, that nothing was
	// proposed.
	Err error
}

// Answered tells what the target said to an AskBegin or AskRefuse.
type Answered struct {
	ID       uint64
	Handover Handover // that it is about
	Begun    *timeline.Reign
	Refused  bool
	Err      error // there is no answer
	Again    bool  // of an error: nobody was reached who could answer
}

// Ended tells how a Stream, Fetch, Stage or Rewind ended. Everything that a stream proposed is applied, or can no
// longer be.
type Ended struct {
	ID        uint64
	Fork      *Fork // of a stream
	NeedsCopy bool  // of a stream: the source holds too little of its log
	Copy      *Copy // of a fetch, or a rewind
	Err       error
	Again     bool // of an error of a rewind: so many nodes could not be asked that another try may do better
	Gone      bool // of an error of a stage: the copy is not here any more, or was damaged; another has to be fetched
}

// Fork is where the histories part.
type Fork struct {
	Position timeline.Position // the last one that both are known to share
	Source   []timeline.Reign
}

// Copy is a whole state of the source that is here.
type Copy struct {
	ID     string
	Origin timeline.Origin
	// Parts is the last position that the copy is known to share with the history here, if that has more behind it
	// which the copy has not; nil: nothing of the kind is known.
	Parts *timeline.Position
	// Old says that a node of the region may not understand that a region goes back over more than one reign.
	Old bool
}

func (Switchover) input()  {}
func (Abort) input()       {}
func (Found) input()       {}
func (Takeover) input()    {}
func (VoteAsked) input()   {}
func (Elected) input()     {}
func (BeginAsked) input()  {}
func (RefuseAsked) input() {}
func (GaveUp) input()      {}
func (Decided) input()     {}
func (Answered) input()    {}
func (Ended) input()       {}
