package follow

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	service = "mimir.v1.Import"
	stream  = "Follow"
	// Method is the full name of the call.
	Method = "/" + service + "/" + stream

	// MaxBatchBytes bounds a batch, and maxBatchCommands what it holds: who reads it needs more for a command than its
	// bytes, of which an empty one has none.
	MaxBatchBytes    = 16 << 20
	maxBatchCommands = 1 << 20
	pieceBytes       = 1 << 20
)

// ErrMalformed says that bytes are not what the other side should have sent.
var ErrMalformed = errors.New("follow: malformed message")

// State is how a node's content is, with all that was acknowledged in the fleet before it was told.
type State struct {
	Follows      bool   `json:"follows"`
	Revision     int64  `json:"revision"`
	AuthEnabled  bool   `json:"authEnabled"`
	AuthRevision uint64 `json:"authRevision"`
	// Leases have their granted times to live in seconds, by ID.
	Leases map[int64]int64 `json:"leases,omitempty"`
}

// AppendCommand adds a command to a batch.
func AppendCommand(batch, command []byte) []byte {
	return append(binary.AppendUvarint(batch, uint64(len(command))), command...)
}

// Commands returns those of a batch, which they alias. None is empty.
func Commands(batch []byte) (list [][]byte, err error) {
	count := 0 // before there is anything to hold them
	for rest := batch; len(rest) > 0; count++ {
		if _, rest, err = next(rest); err != nil {
			return nil, err
		}
	}
	if count > maxBatchCommands {
		return nil, fmt.Errorf("%w: %d commands", ErrMalformed, count)
	}
	list = make([][]byte, count)
	for i := range list {
		if list[i], batch, err = next(batch); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// next returns the first command of a batch, and what is behind it.
func next(batch []byte) (command, rest []byte, err error) {
	length, n := binary.Uvarint(batch)
	if n <= 0 || length == 0 || length > uint64(len(batch)-n) {
		return nil, nil, fmt.Errorf("%w: a command of %d bytes", ErrMalformed, length)
	}
	end := n + int(length)
	return batch[n:end:end], batch[end:], nil
}

// messages is one direction of the stream.
type messages interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

func sendState(s messages, state *State) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return s.SendMsg(wrapperspb.Bytes(text))
}

func receiveState(s messages) (*State, error) {
	m, state := new(wrapperspb.BytesValue), new(State)
	if err := s.RecvMsg(m); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(m.Value, state); err != nil {
		return nil, fmt.Errorf("%w: state: %w", ErrMalformed, err)
	}
	return state, nil
}

func sendBatch(s messages, batch []byte) error {
	for last := false; !last; {
		n := min(len(batch), pieceBytes)
		piece := make([]byte, 1, 1+n)
		if last = n == len(batch); last {
			piece[0] = 1
		}
		if err := s.SendMsg(wrapperspb.Bytes(append(piece, batch[:n]...))); err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// receiveBatch returns the next batch, of at most so many bytes.
func receiveBatch(s messages, most int) (batch []byte, err error) {
	for {
		m := new(wrapperspb.BytesValue)
		if err := s.RecvMsg(m); err != nil {
			return nil, err
		}
		if len(m.Value) == 0 || m.Value[0] > 1 || len(batch)+len(m.Value)-1 > most {
			return nil, fmt.Errorf("%w: a piece of %d bytes, behind %d", ErrMalformed, len(m.Value), len(batch))
		}
		if batch = append(batch, m.Value[1:]...); m.Value[0] == 1 {
			return batch, nil
		}
	}
}
