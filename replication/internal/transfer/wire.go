package transfer

import (
	"encoding/hex"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Services that give a whole state as files to a region that cannot follow the log, and to nodes of the own region.
const (
	// Service is of nodes of which both say when they work.
	Service = "copy/2"
	// ServiceElder is for those that do not know Service.
	ServiceElder = "copy/1"
)

// AskStage has a node fetch a copy that is to be installed from another node of its region.
const AskStage = peer.Question[StageRequest, peer.Nothing]("stage")

// StageRequest is the content of AskStage.
type StageRequest struct {
	ID   string `json:"id"`
	From string `json:"from"`
	Term uint64 `json:"term"` // that the asking node leads
}

// Request asks for a state. With an ID it is that copy and no other; otherwise any that has applied MinIndex (of the
// own region) will do, and Have names the one of which a part is there.
type Request struct {
	Region   string `json:"region"`
	ID       string `json:"id,omitempty"`
	Have     string `json:"have,omitempty"`
	MinIndex uint64 `json:"minIndex,omitempty"`
	// MinEpoch is the claim to which the asking region gave way: a history without it would lead back into its own
	// reign.
	MinEpoch timeline.Epoch `json:"minEpoch,omitempty"`
}

// Description travels with a copy: whose state it is, and where in the history.
type Description struct {
	Region string          `json:"region"`
	Index  uint64          `json:"index"`
	Origin timeline.Origin `json:"origin"`
	// Formed are the disks with which the region was formed; nil: who gave it does not know, or is of a version that
	// does not say.
	Formed map[uint64]string `json:"formed,omitempty"`
	// Node is who gave it, by the Raft identity; zero: it is of a version that does not say.
	Node uint64 `json:"node,omitempty"`
}

// idBytes is the length of an identity, which is written in hexadecimal.
const idBytes = 16

func isID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == idBytes
}

// checkID refuses an identity, perhaps from another node, that is no name of a copy.
func checkID(id string) error {
	if !isID(id) {
		return fmt.Errorf("%w: copy %q", contract.ErrMessage, id)
	}
	return nil
}
