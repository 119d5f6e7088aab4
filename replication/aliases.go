package replication

import (
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/internal/tail"
	"github.com/mimir-kv/mimir/replication/transport"
)

// Words of the history.
type (
	// Command is one write, opaque to this package: Data []byte, which is the library's from the moment it is handed
	// over.
	Command = contract.Command
	// Position is the number of a command in the history: 1, 2, 3, … without gaps. A uint64.
	Position = contract.Position
	// Epoch is the number of one reign of one primary; it rises at every move. A uint64.
	Epoch = contract.Epoch
	// Chain is the running hash over a history: [32]byte. Equal chains prove equal histories.
	Chain = contract.Chain
	// Reign is the beginning of an epoch, as the storage sees it. Fields an engine may read: Epoch; First, the first
	// Position it may write; Primary, the region that takes the writes; Lossy, whether a tail of the epoch before may
	// have been lost.
	Reign = contract.Reign
)

// What the embedder writes, and is given for it.
type (
	// Storage is the deterministic engine that an embedder brings. Its contract is with its methods in package
	// contract.
	Storage = contract.Storage
	// Snapshot is a view of a Storage's content at one position.
	Snapshot = contract.Snapshot
	// Checkpointer is a Storage that makes and takes whole states as files.
	Checkpointer = contract.Checkpointer
	// Brancher is a Checkpointer that can go on from a checkpoint of its own beside the state.
	Brancher = contract.Brancher
	// Verifier is a Checkpointer that can tell whether the files of a checkpoint are what was written.
	Verifier = contract.Verifier
	// Branch is a state beside a Storage's own.
	Branch = contract.Branch
	// Batch is a run of consecutive commands of one epoch.
	Batch = contract.Batch
	// Cut is a place in a Batch.
	Cut = contract.Cut
	// Metadata is what the library must find again in the storage.
	Metadata = contract.Metadata
)

// Transport is the network between nodes: transport/grpc between processes, transport/memory in tests, or the
// embedder's own.
type Transport = transport.Transport

// What an embedder may bring to see where the time of writes goes: Config.Tracer.
type (
	// Tracer is told of the parts that writes in a trace are made of.
	Tracer = contract.Tracer
	// Span is a part that is under way.
	Span = contract.Span
)

// What is reported.
type (
	// Role is what a region is in its fleet.
	Role = contract.Role
	// Tenure names the time in which one node takes the fleet's writes.
	Tenure = contract.Tenure
	// Receipt tells where in the history a write is, with the storage's results.
	Receipt = contract.Receipt
	// Level says how fresh a read has to be.
	Level = contract.Level
	// Lag is what a region is behind the primary.
	Lag = contract.Lag
	// NodeStatus is one node as others see it.
	NodeStatus = contract.NodeStatus
	// SlotStatus is a secondary as its source sees it.
	SlotStatus = contract.SlotStatus
	// LastHeard is what was known of a region when one of its nodes last answered.
	LastHeard = contract.LastHeard
	// FleetStatus is the whole fleet as one node sees it.
	FleetStatus = contract.FleetStatus
	// RegionStatus is one region of the fleet.
	RegionStatus = contract.RegionStatus
	// Transfer is how far a whole state is on its way to a node; what is nil is not known.
	Transfer = contract.Transfer
	// Bootstrap is how far the copy is that a region takes because it cannot follow the log.
	Bootstrap = contract.Bootstrap
	// Phase is what is being done of either.
	Phase = contract.Phase
	// Late is how late a region shows its history.
	Late = contract.Late
	// Point names a place in a history.
	Point = contract.Point
	// Formation tells how a region was formed by an order, without all of its nodes.
	Formation = contract.Formation
	// MoveReport tells how the primary moved.
	MoveReport = contract.MoveReport
	// VoteStatus is who votes about the primary, and what their promises come to.
	VoteStatus = contract.VoteStatus
	// VoterStatus is one voter: a region, or a witness.
	VoterStatus = contract.VoterStatus
)

// Roles of a region.
const (
	RolePrimary   = contract.RolePrimary
	RoleSecondary = contract.RoleSecondary
	RoleDiverged  = contract.RoleDiverged
)

// Levels of ReadBarrier.
const (
	Linearizable = contract.Linearizable
	Serializable = contract.Serializable
)

// Errors that callers must tell apart. All are returned wrapped; compare with errors.Is. What each says stands in
// package contract.
var (
	ErrNotLeader       = contract.ErrNotLeader
	ErrNotReady        = contract.ErrNotReady
	ErrClosed          = contract.ErrClosed
	ErrUnknownOutcome  = contract.ErrUnknownOutcome
	ErrRejected        = contract.ErrRejected
	ErrUnderReplicated = contract.ErrUnderReplicated
	ErrLagging         = contract.ErrLagging
	ErrTooLarge        = contract.ErrTooLarge
	ErrVolatile        = contract.ErrVolatile
	ErrStopped         = contract.ErrStopped
	ErrIdentity        = contract.ErrIdentity
	ErrDiskLost        = contract.ErrDiskLost
	ErrDamaged         = contract.ErrDamaged
	ErrNewer           = contract.ErrNewer
	ErrUnknownRegion   = contract.ErrUnknownRegion
	ErrHandoff         = contract.ErrHandoff
	ErrAlreadyBegun    = contract.ErrAlreadyBegun
	ErrAlreadyPrimary  = contract.ErrAlreadyPrimary
	ErrNeedsForce      = contract.ErrNeedsForce
	ErrDiverged        = contract.ErrDiverged
	ErrArgument        = contract.ErrArgument
	ErrConfig          = contract.ErrConfig
	ErrMember          = contract.ErrMember
	ErrLearnerBehind   = contract.ErrLearnerBehind
	ErrUnhealthy       = contract.ErrUnhealthy
	ErrRemoved         = contract.ErrRemoved
	ErrDelayed         = contract.ErrDelayed
	ErrOldNode         = contract.ErrOldNode
	ErrMessage         = contract.ErrMessage
	ErrMetadata        = contract.ErrMetadata
)

// SnapshotBytes returns a Snapshot whose content is p, for engines that are small enough to write themselves out at
// once. p must not be changed afterwards.
func SnapshotBytes(p []byte) Snapshot { return contract.SnapshotBytes(p) }

// TailInfo describes what one node saved of a tail. Fields: Name, for ReadTail; Fleet, Region, Node; Fork, the last
// shared Position, and Last, the region's own; Chain, that of the history that was lost; Claim, the Reign that
// outranked it; Saved, when; Commands and Bytes, how much; After, if not zero the position behind which the commands
// begin because the log did not reach back to Fork; State, then, the whole state beside them; Damaged, why it cannot
// be read.
type TailInfo = tail.Info

// TailState describes the copy of a whole state. Fields: Epoch, Position and Chain, its place; Bytes, its size.
type TailState = tail.State

// Errors of ReadTail.
var (
	// ErrTailNotFound says that there is no rescue file of this name on this node.
	ErrTailNotFound = rescue.ErrNotFound
	// ErrTailForeign says that a tail parted from another history than this fleet's.
	ErrTailForeign = rescue.ErrForeign
	// ErrTailDamaged says that a rescue file cannot be read whole.
	ErrTailDamaged = rescue.ErrDamaged
)
