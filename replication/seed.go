package replication

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Seed is a content that was kept elsewhere, with which a new fleet begins instead of with nothing. All nodes that are
// sown with one are given the same: those of a region that were given others do not form it.
type Seed struct {
	// Origin is a digest of the content, and of all that was done to it. It makes the history one of its own.
	Origin [sha256.Size]byte
	// Epoch and Position are where the history was of which the content is; zero if it was of none. The new one begins
	// behind both, so that nothing which they number comes back with another meaning.
	Epoch    Epoch
	Position Position
	// Level is what a node has to understand to serve the content.
	Level timeline.Level
}

// SeedOf returns the seed that a content is by its metadata, nil for one of which no history is known; its Origin is
// the caller's to fill in. The error is one of timeline, if this version cannot read it.
func SeedOf(m *Metadata) (Seed, error) {
	if m == nil {
		return Seed{}, nil
	}
	s, err := timeline.DecodeRecord(m.Record, timeline.Cursor{Epoch: m.Epoch, Position: m.Position, Chain: m.Chain})
	if err != nil {
		return Seed{}, err
	}
	if s.Commands > timeline.LevelNow {
		return Seed{}, fmt.Errorf("%w: content of level %d, this version knows %d", timeline.ErrVersion, s.Commands,
			timeline.LevelNow)
	}
	return Seed{Epoch: max(m.Epoch, s.HighestClaim().Epoch), Position: m.Position, Level: s.Commands}, nil
}

// Errors of Sow, and of a start after it.
var (
	// ErrNotEmpty says that a data directory holds something already.
	ErrNotEmpty = errors.New("replication: the data directory is not empty")
	// ErrHalfSown says that a Sow did not come to its end: nothing in the directory is of use.
	ErrHalfSown = errors.New("replication: a restore into this data directory was cut short")
)

// A region that was sown begins its log behind this entry. It is not the one with which every other log begins: a node
// with an empty disk that joins later needs the state.
const (
	sownIndex = 2
	sownTerm  = 1
)

// Sow makes the data directory of c, which holds no node yet, that of a node whose region has a history already: the
// content that fill puts into the storage, which keeps it on disk. fill describes it, puts the metadata that it gets
// beside it in the place of whatever was there, and returns when that is durable; a storage that holds a part has some
// metadata, whichever. InitialPrimary is the region that takes the writes. Every node with which the region is formed
// is sown alike, or a majority; the others come with empty directories, and other regions too, or are sown alike. The
// node waits for all others as an empty one does, and never takes part in a region that was formed before. No node
// starts on a directory with which this did not come to its end. Errors: ErrConfig, ErrArgument, ErrNotEmpty,
// ErrHalfSown, fill's.
func Sow(c *Config, fill func(describe func(Seed) (*Metadata, error)) error) (err error) {
	if err := c.Validate(); err != nil {
		return err
	}
	full := c.withDefaults()
	c = &full
	switch {
	case c.Join:
		return fmt.Errorf("%w: a node that joins a region takes the content of that", ErrConfig)
	case c.InitialPrimary == "":
		return fmt.Errorf("%w: no InitialPrimary: it says which region takes the writes", ErrConfig)
	}
	held, err := c.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	found, err := claimDirectory(c.FS, c)
	if err == nil && !found.fresh {
		err = fmt.Errorf("%w: %s", ErrNotEmpty, c.DataDir)
	}
	if err == nil && fill == nil {
		err = fmt.Errorf("%w: nothing that fills the storage", ErrArgument)
	}
	if err == nil {
		err = markSown(c.FS, c, "")
	}
	with := ""
	if err == nil {
		err = fill(func(s Seed) (*Metadata, error) {
			with = hex.EncodeToString(s.chain(c))
			return s.metadata(c)
		})
	}
	if err == nil && with == "" {
		err = fmt.Errorf("%w: what the directory is sown with was not described", ErrArgument)
	}
	if err == nil {
		err = sowLog(c)
	}
	if err != nil {
		return err
	}
	return markSown(c.FS, c, with)
}

// metadata is that of a region that begins with s.
func (s *Seed) metadata(c *Config) (*Metadata, error) {
	reign := s.reign(c)
	state := c.emptyState()
	state.Reigns, state.Commands = []timeline.Reign{reign}, s.Level
	state.Base = timeline.Base{Index: sownIndex, Position: reign.First - 1}
	state.Cursor = timeline.Cursor{
		Epoch: reign.Epoch, Position: reign.First - 1, Chain: timeline.NewFolder().Reign(reign.Previous, reign),
	}
	record, err := state.EncodeRecord()
	if err != nil {
		return nil, err
	}
	return &Metadata{
		AppliedIndex: sownIndex, AppliedTerm: sownTerm, Epoch: state.Cursor.Epoch, Position: state.Cursor.Position,
		Chain: state.Cursor.Chain, Record: record,
	}, nil
}

// reign is how the history of a fleet begins that is sown: behind at least one position, so that nobody takes it for
// one that he can have from its beginning.
func (s *Seed) reign(c *Config) timeline.Reign {
	r := timeline.Reign{Epoch: s.Epoch + 1, First: max(s.Position, 1) + 1, Primary: c.InitialPrimary}
	r.Previous = timeline.Chain(s.chain(c))
	nonce := sha256.Sum256(r.Previous[:])
	copy(r.Nonce[:], nonce[:])
	return r
}

// chain is equal on nodes that are sown alike, and on no others.
func (s *Seed) chain(c *Config) []byte {
	sum := sha256.New()
	for _, part := range [][]byte{
		[]byte("mimir seed"), s.Origin[:], []byte(c.FleetID), []byte(c.InitialPrimary),
		binary.BigEndian.AppendUint64(nil, uint64(s.Epoch)), binary.BigEndian.AppendUint64(nil, uint64(s.Position)),
	} {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		sum.Write(part)
	}
	return sum.Sum(nil)
}

// sowLog makes the log one that begins behind the state. What an attempt before left is thrown away.
func sowLog(c *Config) error {
	if err := c.FS.RemoveAll(c.path("wal")); err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	log, err := wal.Open(wal.Options{FS: c.FS, Dir: c.path("wal"), SegmentBytes: c.SegmentBytes, Logger: c.Logger})
	if err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	hard := &raftpb.HardState{Term: new(uint64(sownTerm)), Vote: new(uint64(0)), Commit: new(uint64(sownIndex))}
	err = log.Reset(sownIndex, sownTerm, hard)
	if err := errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	return nil
}
