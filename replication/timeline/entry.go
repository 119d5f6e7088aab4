package timeline

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind tells what the payload of a log entry is. The values are on disk and on the wire: never renumber.
type Kind byte

// Kinds of payload. Frames and reigns are the history, identical in every region; the others are state of one region
// alone and never leave it.
const (
	KindFrame   Kind = 1 // a Frame
	KindReign   Kind = 2 // a Reign begins
	KindControl Kind = 3 // a Control of this region
)

// FormatVersion is the first byte of every payload but that of a reign with a Place, which has placesVersion, of a
// control of LevelPolicy, LevelDelay, LevelHold, LevelCount, LevelFollow, LevelRoster, LevelRanks or LevelSources, and
// of a frame or a control of LevelUsers, LevelEnds or LevelBasis: a node that does not know of these cannot apply them
// as others do, and says that it has to be upgraded.
const (
	FormatVersion = 1
	placesVersion = 2
	ballotVersion = 3  // of a region's state alone
	policyVersion = 4  // of a region's state, and of a control, with a charter of LevelPolicy
	usersVersion  = 5  // of a frame with commands of LevelUsers, and of what says that there were such
	delayVersion  = 6  // of a region's state that is delayed, and of a control of LevelDelay
	holdVersion   = 7  // of a region's state, and of a control, with a charter of LevelHold
	countVersion  = 8  // likewise of LevelCount
	followVersion = 9  // of a region's state, and of a control, with a content of LevelFollow
	rosterVersion = 10 // of a region's state that has a roster, and of a control with one
	ranksVersion  = 11 // likewise with a roster of LevelRanks
	endsVersion   = 12 // of a frame with commands of LevelEnds, and of what says that there were such
	sourceVersion = 13 // of a region's state, and of a control, with a roster of LevelSources
	basisVersion  = 14 // of a frame with commands of LevelBasis, and of what says that there were such
)

// Frame is a run of consecutive commands of one epoch: the unit of the log, of the stream and of replay. The same
// bytes are in the log of every node of every region.
type Frame struct {
	Epoch    Epoch
	First    Position // of the first command
	Previous Chain    // before the first command
	Commands []Command
	// Level is the earliest one of nodes that understand all commands: LevelFirst, LevelUsers, LevelEnds or LevelBasis.
	Level Level
}

// Last returns the position of the last command; First-1 when there is none.
func (f *Frame) Last() Position { return f.First + Position(len(f.Commands)) - 1 }

// Header is what can be read of a history entry without decoding its commands.
type Header struct {
	Kind     Kind
	Epoch    Epoch
	First    Position // a frame's first command; a reign's first position
	Count    uint32   // commands; zero for a reign
	Previous Chain
}

// Last returns the last position after the entry.
func (h Header) Last() Position { return h.First + Position(h.Count) - 1 }

// Byte layout, little endian. See README.md for the table.
const (
	headerBytes = 1 + 1 + 2 + 4 + 8 + 8 + 32
	// MaxCommandBytes bounds one command.
	MaxCommandBytes = 16 << 20
	// MaxFrameCommands bounds the commands of a frame.
	MaxFrameCommands = 1 << 20
)

// Errors of decoding. They mean damage, or a newer version.
var (
	ErrFormat  = errors.New("timeline: malformed entry")
	ErrVersion = errors.New("timeline: entry of a newer format version; upgrade this node")
)

func appendHeader(dst []byte, h Header) []byte {
	dst = append(dst, FormatVersion, byte(h.Kind), 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, h.Count)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.Epoch))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.First))
	return append(dst, h.Previous[:]...)
}

// KindOf returns the kind of a payload. An empty payload (a leader's first entry) has kind zero.
func KindOf(p []byte) (Kind, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case len(p) < 2:
		return 0, fmt.Errorf("%w: %d bytes", ErrFormat, len(p))
	case !versioned(p[0], Kind(p[1])):
		return 0, fmt.Errorf("%w: version %d of kind %d", ErrVersion, p[0], p[1])
	}
	switch k := Kind(p[1]); k {
	case KindFrame, KindReign, KindControl:
		return k, nil
	default:
		return 0, fmt.Errorf("%w: kind %d", ErrFormat, k)
	}
}

// versioned reports whether payloads of the kind k have that version.
func versioned(version byte, k Kind) bool {
	switch version {
	case FormatVersion:
		return true
	case placesVersion:
		return k == KindReign
	case usersVersion, endsVersion, basisVersion:
		return k != KindReign
	case policyVersion, delayVersion, holdVersion, countVersion, followVersion, rosterVersion, ranksVersion,
		sourceVersion:
		return k == KindControl
	default:
		return false
	}
}

// ReadHeader reads the header of a frame or reign. ok is false for every other payload, damaged ones included.
func ReadHeader(p []byte) (h Header, ok bool) {
	k, err := KindOf(p)
	if err != nil || (k != KindFrame && k != KindReign) || len(p) < headerBytes {
		return Header{}, false
	}
	h = Header{
		Kind:  k,
		Count: binary.LittleEndian.Uint32(p[4:]),
		Epoch: Epoch(binary.LittleEndian.Uint64(p[8:])),
		First: Position(binary.LittleEndian.Uint64(p[16:])),
	}
	copy(h.Previous[:], p[24:])
	return h, true
}

// FrameBytes returns the encoded size of a frame with commands of these sizes in total.
func FrameBytes(count, dataBytes int) int { return headerBytes + 4*count + dataBytes }

// AppendFrame appends the encoding of f to dst.
func AppendFrame(dst []byte, f *Frame) []byte {
	start := len(dst)
	dst = appendHeader(dst, Header{
		Kind: KindFrame, Count: uint32(len(f.Commands)), Epoch: f.Epoch, First: f.First, Previous: f.Previous,
	})
	switch {
	case f.Level >= LevelBasis:
		dst[start] = basisVersion
	case f.Level >= LevelEnds:
		dst[start] = endsVersion
	case f.Level >= LevelUsers:
		dst[start] = usersVersion
	}
	for i := range f.Commands {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.Commands[i].Data)))
		dst = append(dst, f.Commands[i].Data...)
	}
	return dst
}

// DecodeFrame decodes p into f. The commands alias p; f.Commands is reused when it has room.
func DecodeFrame(p []byte, f *Frame) error {
	h, ok := ReadHeader(p)
	if !ok || h.Kind != KindFrame {
		return fmt.Errorf("%w: not a frame", ErrFormat)
	}
	if h.Count == 0 || h.Count > MaxFrameCommands || h.First == 0 || h.Epoch == 0 || h.Last() < h.First {
		return fmt.Errorf("%w: frame of %d commands at %d, epoch %d", ErrFormat, h.Count, h.First, h.Epoch)
	}
	f.Epoch, f.First, f.Previous, f.Commands = h.Epoch, h.First, h.Previous, f.Commands[:0]
	switch p[0] {
	case basisVersion:
		f.Level = LevelBasis
	case endsVersion:
		f.Level = LevelEnds
	case usersVersion:
		f.Level = LevelUsers
	default:
		f.Level = LevelFirst
	}
	rest := p[headerBytes:]
	if uint64(h.Count)*4 > uint64(len(rest)) {
		return fmt.Errorf("%w: %d commands in %d bytes", ErrFormat, h.Count, len(rest))
	}
	for range h.Count {
		if len(rest) < 4 {
			return fmt.Errorf("%w: frame at %d cut short", ErrFormat, h.First)
		}
		n := binary.LittleEndian.Uint32(rest)
		rest = rest[4:]
		if n > MaxCommandBytes || uint64(n) > uint64(len(rest)) {
			return fmt.Errorf("%w: command of %d bytes in frame at %d, %d left", ErrFormat, n, h.First, len(rest))
		}
		f.Commands = append(f.Commands, Command{Data: rest[:n:n]})
		rest = rest[n:]
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after frame at %d", ErrFormat, len(rest), h.First)
	}
	return nil
}

// The flags of a reign are one bit, and behind it the place.
const (
	reignFlagLossy  = 1
	reignPlaceShift = 1
)

// AppendReign appends the encoding of r to dst.
func AppendReign(dst []byte, r Reign) []byte {
	start := len(dst)
	dst = appendHeader(dst, Header{Kind: KindReign, Epoch: r.Epoch, First: r.First, Previous: r.Previous})
	if r.Place != 0 {
		dst[start] = placesVersion
	}
	return r.appendIdentity(dst)
}

// appendIdentity appends everything a reign is, but for the chain before it.
func (r Reign) appendIdentity(dst []byte) []byte {
	flags := r.Place << reignPlaceShift
	if r.Lossy {
		flags |= reignFlagLossy
	}
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Epoch))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.First))
	dst = binary.LittleEndian.AppendUint64(dst, r.Handoff)
	dst = append(dst, r.Nonce[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.Primary)))
	return append(dst, r.Primary...)
}

// DecodeReign decodes the payload of a reign.
func DecodeReign(p []byte) (Reign, error) {
	h, ok := ReadHeader(p)
	const fixed = headerBytes + 1 + 8 + 8 + 8 + 16 + 2
	if !ok || h.Kind != KindReign || len(p) < fixed {
		return Reign{}, fmt.Errorf("%w: not a reign", ErrFormat)
	}
	b := p[headerBytes:]
	r := Reign{
		Previous: h.Previous,
		Lossy:    b[0]&reignFlagLossy != 0,
		Place:    b[0] >> reignPlaceShift,
		Epoch:    Epoch(binary.LittleEndian.Uint64(b[1:])),
		First:    Position(binary.LittleEndian.Uint64(b[9:])),
		Handoff:  binary.LittleEndian.Uint64(b[17:]),
	}
	copy(r.Nonce[:], b[25:41])
	n := int(binary.LittleEndian.Uint16(b[41:]))
	if len(p) != fixed+n || r.Epoch != h.Epoch || r.First != h.First || r.Epoch == 0 || r.First == 0 || n == 0 ||
		h.Count != 0 || (r.Place != 0) != (p[0] == placesVersion) || r.Place > MaxPlace {
		return Reign{}, fmt.Errorf("%w: reign of epoch %d at %d", ErrFormat, h.Epoch, h.First)
	}
	r.Primary = string(p[fixed:])
	return r, nil
}
