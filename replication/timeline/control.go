package timeline

import (
	"encoding/json"
	"fmt"
	"time"
)

// Op names what a Control does. The names are on disk: never change one.
type Op string

// Controls of a region.
const (
	OpSeal    Op = "seal"    // primary: fix the end of the reign for a handoff
	OpUnseal  Op = "unseal"  // primary: the target refused; go on
	OpRefuse  Op = "refuse"  // target: never begin by this handoff
	OpYield   Op = "yield"   // a higher claim exists: take no writes of the own reign any more
	OpDiverge Op = "diverge" // the history has a fork: save the tail, then rejoin
	OpKeep    Op = "keep"    // diverged: go on with the own history after all; of LevelKeep
	OpInstall Op = "install" // replace the state by a staged checkpoint of the source
	OpSlots   Op = "slots"   // what the secondaries have acknowledged
	OpMember  Op = "member"  // a node published its addresses

	// Of nodes of LevelBallots.
	OpEnrol   Op = "enrol"   // the voter has a ballot from now on
	OpCharter Op = "charter" // who votes, and how
	OpVote    Op = "vote"    // for a region in an epoch
	OpCeiling Op = "ceiling" // up to where the primary may acknowledge

	// Of nodes of LevelDelay.
	OpDelay   Op = "delay"   // show the history late, up to Shown; Receipt says when more of it came
	OpUndelay Op = "undelay" // show all of it again
	OpCut     Op = "cut"     // end the history at Origin: what is behind it is saved, and nobody saw it; Claim begins

	// Of nodes of LevelCount.
	OpCount Op = "count" // how much of a hold is over

	// Of nodes of LevelRoster.
	OpRoster Op = "roster" // which regions the fleet has
)

// Level returns the earliest level of nodes that understand such a control.
func (o Op) Level() Level {
	switch o {
	case OpKeep:
		return LevelKeep
	case OpEnrol, OpCharter, OpVote, OpCeiling:
		return LevelBallots
	case OpDelay, OpUndelay, OpCut:
		return LevelDelay
	case OpCount:
		return LevelCount
	case OpRoster:
		return LevelRoster
	default:
		return LevelFirst
	}
}

// Control changes the state of one region. It travels in that region's Raft log alone.
type Control struct {
	Op      Op     `json:"op"`
	Epoch   Epoch  `json:"epoch,omitempty"`   // seal, unseal, refuse: the epoch that is handed over
	Handoff uint64 `json:"handoff,omitempty"` // seal, unseal, refuse
	// To is for whom the region seals; of a charter and a ceiling the primary that sends it; of a roster the region
	// that writes it, as the primary.
	To    string   `json:"to,omitempty"`
	Claim *Reign   `json:"claim,omitempty"` // yield, diverge: the reign that outranks this region's; cut: its own
	Fork  Position `json:"fork,omitempty"`  // diverge: last shared position
	At    Position `json:"at,omitempty"`    // diverge, keep, cut: this region's last position when it was proposed
	// Checkpoint and Origin are what install replaces the state by; Origin is also where cut ends it, without reigns.
	Checkpoint string  `json:"checkpoint,omitempty"` // identity of the staged checkpoint
	Origin     *Origin `json:"origin,omitempty"`
	Slots      []Slot  `json:"slots,omitempty"`
	Member     *Member `json:"member,omitempty"`
	// Of nodes of LevelBallots.
	Identity Nonce      `json:"identity,omitzero"` // enrol
	Charter  *Charter   `json:"charter,omitempty"`
	Vote     *Candidacy `json:"vote,omitempty"`
	Known    *Known     `json:"known,omitempty"` // ceiling: of Epoch
	// Of nodes of LevelDelay.
	Shown   Position  `json:"shown,omitempty"`   // delay
	Of      time.Time `json:"of,omitzero"`       // delay, cut: when came what is shown then
	Receipt *Receipt  `json:"receipt,omitempty"` // delay
	// Of nodes of LevelCount.
	Hold *Hold         `json:"hold,omitempty"` // count
	Over time.Duration `json:"over,omitempty"` // count: of Hold
	// Back says of an install that it is of what the region itself had at the fork: the history that it gave way to
	// goes on there with more than the reigns of Origin, and the rest comes by the stream.
	Back bool `json:"back,omitempty"`
	// Of nodes of LevelRoster.
	Roster *Roster `json:"roster,omitempty"`
	// Token lets its proposer know the control again when it is applied; it decides nothing.
	Token uint64 `json:"token,omitempty"`
}

// controlHeaderBytes is version, kind and two reserved bytes; a JSON object follows.
const controlHeaderBytes = 4

// EncodeControl returns the payload of c.
func EncodeControl(c *Control) ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode control %s: %w", c.Op, err)
	}
	version := byte(FormatVersion)
	switch level := c.Level(); {
	case level >= LevelBasis:
		version = basisVersion
	case level >= LevelSources:
		version = sourceVersion
	case level >= LevelEnds:
		version = endsVersion
	case level >= LevelRanks:
		version = ranksVersion
	case level >= LevelRoster:
		version = rosterVersion
	case level >= LevelFollow:
		version = followVersion
	case level >= LevelCount:
		version = countVersion
	case level >= LevelHold:
		version = holdVersion
	case level >= LevelDelay:
		version = delayVersion
	case level >= LevelUsers:
		version = usersVersion
	case level >= LevelPolicy:
		version = policyVersion
	}
	return append([]byte{version, byte(KindControl), 0, 0}, body...), nil
}

// DecodeControl decodes the payload of a control.
func DecodeControl(p []byte) (*Control, error) {
	if k, err := KindOf(p); err != nil {
		return nil, err
	} else if k != KindControl || len(p) < controlHeaderBytes {
		return nil, fmt.Errorf("%w: not a control", ErrFormat)
	}
	c := new(Control)
	if err := json.Unmarshal(p[controlHeaderBytes:], c); err != nil {
		return nil, fmt.Errorf("%w: control: %w", ErrFormat, err)
	}
	return c, nil
}
