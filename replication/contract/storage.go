package contract

import (
	"io"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// Words of the history, given to the embedder by alias.
type (
	// Command is one write, opaque to this package.
	Command = timeline.Command
	// Position is the number of a command in the history.
	Position = timeline.Position
	// Epoch is the number of one reign of one primary.
	Epoch = timeline.Epoch
	// Chain is the running hash over a history.
	Chain = timeline.Chain
	// Reign is the beginning of an epoch, as the storage sees it.
	Reign = timeline.Reign
)

// Storage is the deterministic engine that an embedder brings: equal calls in equal order must leave equal contents
// and give equal results on every node. It must not consult a clock, randomness or anything else that may answer
// differently elsewhere.
//
// The library calls Load before anything else, and then Load, Apply, Begin, Snapshot and Restore from one goroutine at
// a time, never concurrently with each other. Sync is called by one goroutine at a time too, and it and the methods of
// a Snapshot may be called concurrently with all of those. An error stops the node, whatever the call was for, and so
// does a panic: it says that the engine cannot go on, never that a command was refused by its own rules (that is a
// result). Excepted are
//
//   - errors of a Snapshot, or of a Checkpoint, that this node can do without: of one for another node, which asks
//     again; of one to go back to after a fork (Config.CheckpointBytes), which is tried again; of the one that Rebuild
//     keeps, and then nothing takes the place of the state;
//   - an error of Sync that wraps syscall.ENOSPC or syscall.EDQUOT: no log is released, and Sync is called again later.
//     After any other one it is not called again: what was not written then, no later call would tell;
//   - an error of Restore or Install that wraps ErrDamaged, as it says there.
//
// A storage of which a call has stopped the node so, or its start, or whose content was being replaced when its node
// ended, is given to no start any more, of the same node or of another: one that is opened anew has what is durable.
// Any other one may be given again once Shutdown has returned.
//
// The node waits for each of these calls, also when it ends. So none of them may call Shutdown, or wait for a write, a
// read barrier or a position: that would wait for itself. The storage is closed when Shutdown has returned, and not
// before.
type Storage interface {
	// Load returns the Metadata that the storage holds now, nil if it is empty.
	Load() (*Metadata, error)
	// Apply applies a run of commands in order and saves meta with them, all in one atomic step: after a crash
	// either everything of the batch is there or nothing is, but for its Cuts. It need not be durable on return: the
	// log replays what was lost. It returns one result for each command, or nil if b.WantResults is false. Of a result
	// only its content counts: a nil one is an empty one.
	//
	// The batch, its commands and their bytes are the library's, which serves other nodes from the same memory: the
	// storage changes nothing of them, and keeps nothing of them after it has returned, but for b.Metadata. The
	// results are the library's from then on, which tells them later: the storage neither changes nor reuses what they
	// lie in, and that is not the memory of the commands.
	Apply(b *Batch) ([][]byte, error)
	// Begin tells of a new epoch, in order with the commands, and saves meta atomically with what it changes.
	Begin(r Reign, meta *Metadata) error
	// Sync makes everything durable that was applied before the call. What is applied while it runs need not be, and
	// the next Sync has to make it so. A storage that keeps nothing on disk returns ErrVolatile: the library then
	// keeps snapshots of it beside the log.
	Sync() error
	// Snapshot returns a consistent view of the whole content, Metadata included, as of the last Apply or Begin.
	// Commands wait while it runs, so it only takes hold of the view (a read transaction, a copy on write); the library
	// writes the view out while it applies further commands, which must not show in it, and closes it.
	Snapshot() (Snapshot, error)
	// Restore replaces the whole content by what a Snapshot wrote, atomically and durably (a volatile storage
	// excepted), Metadata included. If meta is not nil it takes the place of the Metadata in r, in the same atomic
	// step. On an error the former content must still be there. An error that wraps ErrDamaged says that r is not what
	// a Snapshot wrote: the library, which has summed it before, takes another copy then, as it says of Install. With
	// any other error the node stops, and gives the same again when it is started.
	Restore(r io.Reader, meta *Metadata) error
}

// Snapshot is a view of a Storage's content at one position. The library calls WriteTo at most once, then Close exactly
// once, from one goroutine. Several views may be open at a time. They are closed before a Restore begins.
type Snapshot interface {
	// WriteTo writes the content in the form that Restore reads.
	io.WriterTo
	// Close lets go of the view.
	io.Closer
}

// Checkpointer is a Storage that makes and takes whole states as files, usually by hard links. Where a Storage
// implements it, Snapshot and Restore are not called: Checkpoint and Install are in their place, also in who calls them
// and beside what. Directories are on Config.FS.
type Checkpointer interface {
	// Checkpoint makes the new directory dir hold a durable, consistent copy of the state as of the last
	// Apply or Begin. The files must not change afterwards. Commands wait while it runs: it should be quick. Sync was
	// called just before, so that little has to be written. What a Checkpoint that failed did not make durable, the
	// next Sync does, or tells: the node goes on behind it, and releases its log by what Sync says.
	Checkpoint(dir string) error
	// Install replaces the whole state, atomically and durably, by the checkpoint in dir, which is durable and stays as
	// it is: after a crash the library may ask for it again. dir is on the same filesystem. If meta is not nil it takes
	// the place of the Metadata in the checkpoint, in the same atomic step. On an error the former state must still be
	// there. The error wraps ErrDamaged if what is in dir is no checkpoint, or not what was written, since something
	// changed, cut or removed a file, or dir itself: the library gives dir up, and takes the copy of another node then.
	// Where dir came from the leader of its region, which this node can no longer follow by the log, the node stops
	// nevertheless, and takes what the leader sends when it is started again. With any other error, as when a file
	// cannot be read now, the node stops, and asks for the same again when it is started: damage that is not told as
	// such ends it again and again.
	Install(dir string, meta *Metadata) error
}

// Batch is a run of consecutive commands of one epoch. Commands may be empty: then only Metadata is to be saved.
type Batch struct {
	Epoch       Epoch
	First       Position // of Commands[0]
	Commands    []Command
	Metadata    *Metadata
	WantResults bool // somebody on this node waits for results
	// Cuts are the places before the end where a Raft entry ended, in order. A storage for which the batch is too much
	// at once may do it in several atomic steps, each up to a cut and with the metadata there ([Batch.MetadataAt]), the
	// last one with Metadata. The content must not depend on where, or whether, it does.
	Cuts []Cut
}

// Cut is a place in a Batch.
type Cut struct {
	Commands int // before it
	Index    uint64
	Term     uint64
	Chain    Chain
}

// MetadataAt returns the metadata that is to be saved with the commands before c.
func (b *Batch) MetadataAt(c Cut) *Metadata {
	m := *b.Metadata
	m.AppliedIndex, m.AppliedTerm, m.Chain = c.Index, c.Term, c.Chain
	m.Epoch, m.Position = b.Epoch, b.First+Position(c.Commands)-1
	return &m
}
