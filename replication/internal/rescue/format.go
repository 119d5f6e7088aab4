package rescue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Header says where a tail comes from.
type Header struct {
	Fleet  string            `json:"fleet"`
	Region string            `json:"region"` // that lost the tail
	Node   string            `json:"node"`   // that wrote the file
	Fork   timeline.Position `json:"fork"`   // last position that the fleet's history shares
	Last   timeline.Position `json:"last"`   // last position of the tail; equal to Fork if it has no commands
	// After is the position behind which the commands of the file begin: Fork, and not written, if they are all there.
	// Otherwise what precedes them is in a copy of the whole state beside the file.
	After timeline.Position `json:"after,omitempty"`
	// Chain is that of the history that was lost, at Last: no two tails have one.
	Chain timeline.Chain `json:"chain,omitzero"`
	Claim timeline.Reign `json:"claim"` // the reign that outranked the region
	Saved time.Time      `json:"saved"`
}

// Begins returns the position behind which the commands of the file begin.
func (h Header) Begins() timeline.Position { return max(h.After, h.Fork) }

// Counts is what a tail holds. It closes the file.
type Counts struct {
	Entries  uint64 `json:"entries"` // frames and reigns
	Commands uint64 `json:"commands"`
	Bytes    uint64 `json:"bytes"` // of command data
}

// ErrDamaged says that a file is not a rescue file, is damaged, or ends too early.
var ErrDamaged = errors.New("rescue: file damaged")

const (
	magic = "MIMRESC1"
	// recordHeader is kind, three reserved bytes, length and CRC-32C of the body.
	recordHeader = 1 + 3 + 4 + 4
	maxRecord    = timeline.MaxCommandBytes * 8
)

// Records of a file: one header, any number of entries, one footer.
const (
	recordOpen  byte = 1
	recordEntry byte = 2
	recordClose byte = 3
)

// Encoder writes a tail to w.
type Encoder struct {
	w      io.Writer
	head   [recordHeader]byte
	counts Counts
}

// NewEncoder writes the header of a file.
func NewEncoder(w io.Writer, h Header) (*Encoder, error) {
	e := &Encoder{w: w}
	if _, err := io.WriteString(w, magic); err != nil {
		return nil, err
	}
	body, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return e, e.record(recordOpen, body)
}

// Entry adds the payload of a frame or a reign.
func (e *Encoder) Entry(payload []byte) error {
	h, ok := timeline.ReadHeader(payload)
	if !ok {
		return fmt.Errorf("%w: not an entry of a history", ErrDamaged)
	}
	e.counts.Entries++
	e.counts.Commands += uint64(h.Count)
	if h.Kind == timeline.KindFrame {
		e.counts.Bytes += uint64(len(payload) - timeline.FrameBytes(int(h.Count), 0))
	}
	return e.record(recordEntry, payload)
}

// Close writes the footer, without which the file is not complete.
func (e *Encoder) Close() (Counts, error) {
	body, err := json.Marshal(e.counts)
	if err != nil {
		return Counts{}, err
	}
	return e.counts, e.record(recordClose, body)
}

func (e *Encoder) record(kind byte, body []byte) error {
	e.head = [recordHeader]byte{kind}
	binary.LittleEndian.PutUint32(e.head[4:], uint32(len(body)))
	binary.LittleEndian.PutUint32(e.head[8:], sum(kind, body))
	if _, err := e.w.Write(e.head[:]); err != nil {
		return err
	}
	_, err := e.w.Write(body)
	return err
}

func sum(kind byte, body []byte) uint32 {
	return checksum.Add(checksum.Of([]byte{kind}), body)
}

// Decoder reads a tail.
type Decoder struct {
	r      io.Reader
	header Header
	counts Counts
	done   bool
}

// NewDecoder reads the header of a file.
func NewDecoder(r io.Reader) (*Decoder, error) {
	d := &Decoder{r: r}
	var m [len(magic)]byte
	if _, err := io.ReadFull(r, m[:]); !ends(err) {
		return nil, fmt.Errorf("read a rescue file: %w", err)
	} else if err != nil || string(m[:]) != magic {
		return nil, fmt.Errorf("%w: not a rescue file", ErrDamaged)
	}
	kind, body, err := d.record()
	if err != nil {
		return nil, err
	}
	if kind != recordOpen {
		return nil, fmt.Errorf("%w: no header", ErrDamaged)
	}
	if err := json.Unmarshal(body, &d.header); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	return d, nil
}

// Header returns where the tail comes from.
func (d *Decoder) Header() Header { return d.header }

// Counts returns what was read so far; after Next returned io.EOF, what the file holds.
func (d *Decoder) Counts() Counts { return d.counts }

// Next returns the payload of the next frame or reign, io.EOF after the last one of a complete file.
func (d *Decoder) Next() ([]byte, error) {
	if d.done {
		return nil, io.EOF
	}
	kind, body, err := d.record()
	if err != nil {
		return nil, err
	}
	switch kind {
	case recordEntry:
		return body, d.count(body)
	case recordClose:
		return nil, d.finish(body)
	default:
		return nil, fmt.Errorf("%w: record of kind %d", ErrDamaged, kind)
	}
}

func (d *Decoder) count(payload []byte) error {
	h, ok := timeline.ReadHeader(payload)
	if !ok {
		return fmt.Errorf("%w: not an entry of a history", ErrDamaged)
	}
	d.counts.Entries++
	d.counts.Commands += uint64(h.Count)
	if h.Kind == timeline.KindFrame {
		n := len(payload) - timeline.FrameBytes(int(h.Count), 0)
		if n < 0 {
			return fmt.Errorf("%w: frame at %d cut short", ErrDamaged, h.First)
		}
		d.counts.Bytes += uint64(n)
	}
	return nil
}

func (d *Decoder) finish(body []byte) error {
	var want Counts
	if err := json.Unmarshal(body, &want); err != nil {
		return fmt.Errorf("%w: footer: %w", ErrDamaged, err)
	}
	if want != d.counts {
		return fmt.Errorf("%w: holds %+v, footer says %+v", ErrDamaged, d.counts, want)
	}
	d.done = true
	return io.EOF
}

// ends reports whether what was read is what the file holds: all of it, or as much as there was. Any other error says
// nothing of that, and may pass.
func ends(err error) bool { return err == nil || err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) }

func (d *Decoder) record() (byte, []byte, error) {
	var head [recordHeader]byte
	if _, err := io.ReadFull(d.r, head[:]); !ends(err) {
		return 0, nil, fmt.Errorf("read a rescue file: %w", err)
	} else if err != nil {
		return 0, nil, fmt.Errorf("%w: ends without a footer", ErrDamaged)
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if n > maxRecord || head[1]|head[2]|head[3] != 0 {
		return 0, nil, fmt.Errorf("%w: record of %d bytes", ErrDamaged, n)
	}
	body, err := io.ReadAll(io.LimitReader(d.r, int64(n)))
	if !ends(err) {
		return 0, nil, fmt.Errorf("read a rescue file: %w", err)
	}
	if len(body) != int(n) {
		return 0, nil, fmt.Errorf("%w: record of %d bytes cut short", ErrDamaged, n)
	}
	if got, want := sum(head[0], body), binary.LittleEndian.Uint32(head[8:]); got != want {
		return 0, nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrDamaged, got, want)
	}
	return head[0], body, nil
}
