package region

import (
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Outcome tells what became of one entry of the region's log when it was applied on this node.
type Outcome struct {
	Term    uint64
	Index   uint64
	Outcome timeline.Outcome
	Why     string // of a refusal
	Epoch   contract.Epoch
	First   contract.Position // of a frame; zero for every other entry
	Results [][]byte          // of a frame's commands, if somebody waits for them
	Token   uint64            // of a control
	Reign   *timeline.Reign   // of a beginning
}

// Proposers are told, by the goroutine that applies and in the order of the log, what became of what they proposed.
type Proposers interface {
	// Waiting reports whether results of commands are wanted on this node.
	Waiting() bool
	// Resolve tells outcomes, after they are visible in the view.
	Resolve([]Outcome)
	// Overtaken says that the state of another node took the place of this one's: entries were passed over unseen, and
	// what is in flight may have been among them.
	Overtaken()
}
