package storagetest

import (
	"math/rand/v2"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

// Engine is one replica of the storage under test, with what the suite cannot know of it.
type Engine interface {
	// Storage returns the storage. The suite keeps the contract of its methods: what is called by one goroutine at a
	// time, and what is not.
	Storage() contract.Storage
	// Contents returns everything that the storage holds but for the Metadata, in a form in which equal contents are
	// equal bytes. It is not called concurrently with Apply, Begin, Restore or Install.
	Contents() ([]byte, error)
	// Crashed returns a replica opened on a copy of what the disk would hold if the power failed now; this replica goes
	// on. It is called between two calls of the storage, while a Restore reads, and with Suite.CrashInside at any
	// moment. For a storage that keeps nothing on disk it is an empty one.
	Crashed(t testing.TB) Engine
	// Close closes the storage. It is called once, whatever happened before.
	Close() error
}

// Directories is an Engine whose storage is a [contract.Checkpointer].
type Directories interface {
	// NewDir returns the path of a directory that does not exist, on the filesystem of the storage. A replica that
	// Crashed returned later has under the same path what the power cut left of it.
	NewDir() string
	// FS returns that filesystem as the storage uses it. The suite reads the files of checkpoints there, and makes
	// copies of them that are damaged.
	FS() durable.FS
}

// Suite says what is tested.
type Suite struct {
	// New returns an empty replica.
	New func(t testing.TB) Engine
	// Command returns the data of some command that the engine takes. It is drawn from r alone. Good commands touch few
	// things often, so that their order shows.
	Command func(r *rand.Rand) []byte
	// Seed begins the sequence of commands; equal seeds give equal runs. Zero: 1.
	Seed uint64
	// CrashInside says that Crashed may be called while Apply, Begin, Sync, Checkpoint and Install run, from another
	// goroutine, and gives what the disk would hold at that moment: then the suite sees whether commands and metadata
	// are one atomic step on disk, and an Install another, which it cannot see between two calls. A filesystem in
	// memory that can be cut gives that, or the copy of a file that is only appended to; the copy of a file that is
	// written in place does not.
	CrashInside bool
}

// Run runs the suite as subtests of t.
func Run(t *testing.T, s Suite) {
	if s.New == nil || s.Command == nil {
		t.Fatal("storagetest: Suite.New or Suite.Command is nil")
	}
	if s.Seed == 0 {
		s.Seed = 1
	}
	for _, part := range []struct {
		name string
		test func(t *testing.T, s Suite)
	}{
		{"Empty", empty}, {"OrderAndResults", orderAndResults}, {"Metadata", metadata}, {"KeepsNothing", keepsNothing},
		{"Begin", begin}, {"PowerCut", powerCut}, {"PowerCutInside", powerCutInside},
		{"SyncBeside", syncBeside},
		{"Snapshot", snapshot}, {"SnapshotWhileApplying", snapshotWhileApplying}, {"SnapshotUnused", snapshotUnused},
		{"Restore", restore}, {"RestoreThatFails", restoreThatFails}, {"RestoreCutOff", restoreCutOff},
		{"Checkpoint", checkpoint}, {"InstallThatFails", installThatFails}, {"InstallCutOff", installCutOff},
		{"Verify", verify}, {"Branch", branch}, {"BranchBeside", branchBeside},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, s) })
	}
}
