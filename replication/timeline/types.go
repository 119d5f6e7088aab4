package timeline

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"time"
)

// Position is the number of a command in the history: 1, 2, 3, … without gaps. Zero is the position before the first.
type Position uint64

// Epoch is the number of one reign of one primary. Zero means that no primary has reigned yet.
type Epoch uint64

// Command is one write, opaque to this module. It is applied exactly once, in order, in every region.
//
// Data is owned by the library from the moment it is handed over, and must not be changed afterwards.
type Command struct {
	Data []byte
}

// Chain is a running SHA-256 over everything a history holds up to a position, beginnings of epochs included.
// Equal chains prove equal histories. The zero Chain is that of the empty history.
type Chain [sha256.Size]byte

// String returns the first eight bytes in hexadecimal, enough to tell chains apart in logs and errors.
func (c Chain) String() string { return hex.EncodeToString(c[:8]) }

// MarshalText writes the whole chain in hexadecimal.
func (c Chain) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, c[:]), nil }

// UnmarshalText is the inverse of MarshalText.
func (c *Chain) UnmarshalText(p []byte) error { return decodeHex(c[:], p) }

// Nonce is randomness that makes two claims of one epoch differ even if everything else is equal.
type Nonce [16]byte

// MarshalText writes the nonce in hexadecimal.
func (n Nonce) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, n[:]), nil }

// UnmarshalText is the inverse of MarshalText.
func (n *Nonce) UnmarshalText(p []byte) error { return decodeHex(n[:], p) }

func decodeHex(dst, p []byte) error {
	if len(p) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%w: %d hexadecimal digits, want %d", ErrFormat, len(p), hex.EncodedLen(len(dst)))
	}
	_, err := hex.Decode(dst, p)
	return err
}

// Folder extends chains without allocating. It is not safe for concurrent use.
type Folder struct {
	hash hash.Hash
	head [5]byte
}

// NewFolder returns a Folder ready for use.
func NewFolder() *Folder { return &Folder{hash: sha256.New()} }

// The first byte of what is folded tells commands from beginnings, so that neither can pass for the other.
const (
	foldCommand byte = 1
	foldReign   byte = 2
)

// Command returns the chain that follows c when a command with this data is appended.
func (f *Folder) Command(c Chain, data []byte) Chain { return f.fold(c, foldCommand, data) }

// Reign returns the chain that follows c when the beginning r is appended.
func (f *Folder) Reign(c Chain, r Reign) Chain { return f.fold(c, foldReign, r.appendIdentity(nil)) }

// Frame returns the chain that follows all commands of fr.
func (f *Folder) Frame(fr *Frame) Chain {
	c := fr.Previous
	for i := range fr.Commands {
		c = f.Command(c, fr.Commands[i].Data)
	}
	return c
}

func (f *Folder) fold(c Chain, kind byte, data []byte) Chain {
	f.head[0] = kind
	binary.LittleEndian.PutUint32(f.head[1:], uint32(len(data)))
	f.hash.Reset()
	f.hash.Write(c[:])
	f.hash.Write(f.head[:])
	f.hash.Write(data)
	f.hash.Sum(c[:0])
	return c
}

// Reign is the beginning of an epoch: an event of the history, at the same place in every region.
type Reign struct {
	Epoch   Epoch
	First   Position // the first position that the epoch may write
	Primary string   // the region that takes the writes
	// Lossy says that a tail of the epoch before may have been lost: the reign began by a forced failover.
	Lossy bool
	// Handoff is the number of the handoff that a switchover decides, zero for any other beginning.
	Handoff uint64
	Nonce   Nonce
	// Previous is the chain before the beginning.
	Previous Chain
	// Place is that of Primary among all regions of the fleet in the order of their names, from 1 on, and MaxPlace for
	// all behind that one. With Epoch and Nonce it lets a storage number what follows as no other reign does, whoever
	// knew of whom. Zero: a reign that lost nothing, or one that nodes older than LevelPlaces have to understand.
	Place uint8 `json:",omitempty"`
}

// MaxPlace is the greatest place of a region in its fleet.
const MaxPlace = 64

// Level says which entries a node understands; it tells others in its reports. Entries of a later level are proposed
// only while no node is known that could not apply them.
type Level int

// Levels.
const (
	LevelFirst   Level = 0
	LevelPlaces  Level = 1  // reigns with a Place
	LevelKeep    Level = 2  // the control keep
	LevelBallots Level = 3  // votes, charters and ceilings
	LevelPolicy  Level = 4  // charters with more rules about how the primary moves by itself
	LevelUsers   Level = 5  // frames with commands about users, or in the name of one
	LevelDelay   Level = 6  // regions that show their history late
	LevelHold    Level = 7  // charters with a hold
	LevelCount   Level = 8  // a hold of which is noted how much is over, and going back over more than one reign
	LevelFollow  Level = 9  // contents that follow an etcd, or did, from their beginning on
	LevelRoster  Level = 10 // regions that are state of the fleet
	LevelRanks   Level = 11 // rosters that are ordered as claims are
	LevelEnds    Level = 12 // frames with parts of the end of a lease that is dead from then on
	LevelSources Level = 13 // rosters that say whom regions are to follow
	LevelBasis   Level = 14 // frames with commands that say on what somebody stands who asks for them
	LevelNow           = LevelBasis
)

// Level returns the earliest level of nodes that understand the beginning of r.
func (r Reign) Level() Level {
	if r.Place != 0 {
		return LevelPlaces
	}
	return LevelFirst
}

// Cursor is a place in a history: everything up to and including Position, of which the last reign is Epoch's.
type Cursor struct {
	Epoch    Epoch
	Position Position
	Chain    Chain
}

// Seal fixes the end of a reign that is being handed over.
type Seal struct {
	Epoch   Epoch
	To      string // the region that may begin the next epoch
	Handoff uint64
	// Position is the last one of the epoch. It is set when the seal is applied.
	Position Position
}

// Slot is what a source keeps for one secondary.
type Slot struct {
	Region   string
	Position Position // acknowledged: durable with the secondary's quorum
	Lost     bool     // true once the source gave up retaining log for it; it has to bootstrap
}

// Member is a node of a region, as the node published itself.
type Member struct {
	ID         uint64 // Raft identity
	Name       string
	PeerAddr   string   // where other nodes reach it
	ClientURLs []string // where clients reach it; opaque to this module
	Learner    bool
	// Starts is how often the node had started when it said this: of two words of one node the higher one is newer.
	// Zero: said by a version that did not count.
	Starts uint64 `json:",omitempty"`
	// Place is the identity of the place that was held for the node before it came; zero if there was none, or if a
	// version wrote this that does not know. It is for people's words only; nothing that is applied depends on it.
	Place uint64 `json:",omitempty"`
	// Since is the wall time at which it published itself, for people only; no decision reads it.
	Since time.Time
}

// isPlace reports whether nobody has this identity: a place is held under it for a node of which only the address is
// known.
func (m *Member) isPlace() bool {
	return m.Learner && m.Name == "" && m.Starts == 0 && m.PeerAddr != ""
}

// PlaceVotes reports whether the node that takes the place of this identity is to vote.
func PlaceVotes(id uint64) bool { return id&1 == 1 }
