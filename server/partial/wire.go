package partial

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

const (
	service = "mimir.v1.Partial"
	method  = "Follow"
	// Method is the full name of the call.
	Method = "/" + service + "/" + method
	// wireVersion is that of what is said; one that is not known is refused.
	wireVersion = 1
)

// desc is the call, of both sides.
var desc = grpc.StreamDesc{StreamName: method, ServerStreams: true, ClientStreams: true}

// errMalformed says that a message is none.
var errMalformed = errors.New("partial: malformed message")

// What a message is, in its first byte. What follows is JSON, but of changes.
const (
	isAsk     byte = 'A' // who follows: the first message
	isBegun   byte = 'B' // the source: the first message
	isChanges byte = 'C' // the source: some changes, each whole
	isState   byte = 'S' // the source: up to where the changes before it are all
	isNote    byte = 'N' // who follows: how far it is
	isSums    byte = 'D' // the source: sums that a note asked for
)

// ask is what a node wants that follows.
type ask struct {
	Version  int      `json:"version"`
	Fleet    string   `json:"fleet"`
	Region   string   `json:"region"`
	Node     string   `json:"node"`
	Secret   string   `json:"secret"`
	Prefixes Prefixes `json:"prefixes"`
	After    int64    `json:"after"` // what it holds; 0: a copy
}

// begun is what comes.
type begun struct {
	Region string `json:"region"`
	Node   string `json:"node"`
	// Revision is that of the copy; 0: there is none, and what comes is behind what was asked for.
	Revision int64 `json:"revision,omitempty"`
}

// stated is the state of a source up to where its changes were sent.
type stated struct {
	ID       uint64     `json:"id"`
	Revision int64      `json:"revision"`
	Compact  int64      `json:"compact"`
	Gaps     []mvcc.Gap `json:"gaps,omitempty"`
	// Newest is the revision that the source has now, and Whole says that Revision was that when it was read.
	// BehindSeconds is how old what the source had then was at most, at its primary; negative: it does not know.
	Newest        int64   `json:"newest"`
	Whole         bool    `json:"whole,omitempty"`
	BehindSeconds float64 `json:"behindSeconds"`
	// Auth says that who reads and writes has to show who he is, by users and roles of AuthRevision, which were there
	// at Newest or later; 0: the source is of a version that does not say it.
	Auth         bool   `json:"auth,omitempty"`
	AuthRevision uint64 `json:"authRevision,omitempty"`
	// Echo is the ID of the last note that had come by then.
	Echo uint64 `json:"echo,omitempty"`
}

func (s *stated) state() mvcc.State {
	return mvcc.State{Revision: s.Revision, Compact: s.Compact, Gaps: s.Gaps}
}

// rights are which users and roles the source has.
func (s *stated) rights() etcdapi.Rights {
	return etcdapi.Rights{At: s.Newest, Revision: s.AuthRevision, Enabled: s.Auth}
}

// isFresh reports whether the source has what the fleet had acknowledged when the session began.
func (s *stated) isFresh() bool { return s.Whole && s.BehindSeconds >= 0 }

// note is how far who follows is.
type note struct {
	ID       uint64 `json:"id"`
	State    uint64 `json:"state"` // the ID of the last state that it has come to
	Revision int64  `json:"revision"`
	SumAt    int64  `json:"sumAt,omitempty"` // sums of that revision are wanted
}

// sums are those of what the prefixes hold at a revision, one each.
type sums struct {
	At   int64    `json:"at"`
	Sums [][]byte `json:"sums,omitempty"`
	Keys int64    `json:"keys"`
	Why  string   `json:"why,omitempty"` // there are none
}

// messages is a side of a stream.
type messages interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

func send(s messages, kind byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.SendMsg(wrapperspb.Bytes(append([]byte{kind}, text...)))
}

// changesMessage is a message of changes, which belong to it.
func changesMessage(changes []byte) *wrapperspb.BytesValue {
	return wrapperspb.Bytes(append([]byte{isChanges}, changes...))
}

// receive returns the next message, and what kind it is.
func receive(s messages) (kind byte, body []byte, err error) {
	m := new(wrapperspb.BytesValue)
	if err := s.RecvMsg(m); err != nil {
		return 0, nil, err
	}
	if len(m.Value) == 0 {
		return 0, nil, fmt.Errorf("%w: it is empty", errMalformed)
	}
	return m.Value[0], m.Value[1:], nil
}

func decode(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// appendChange appends a change: the key and the value with their lengths, the rest as numbers between.
func appendChange(dst, key []byte, v *mvcc.Version) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(len(key))), key...)
	dst = binary.AppendUvarint(dst, uint64(v.Main))
	dst = append(binary.AppendUvarint(dst, uint64(v.Sub)), v.Kind)
	if v.Kind == mvcc.KindDelete {
		return dst
	}
	for _, n := range []int64{v.Create, v.Number, v.Lease} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return append(binary.AppendUvarint(dst, uint64(len(v.Value))), v.Value...)
}

// changesOf appends the changes of a message, which alias it.
func changesOf(list []kv.Change, body []byte) ([]kv.Change, error) {
	for r := (reader{rest: body}); len(r.rest) > 0; {
		c := kv.Change{Key: r.bytes()}
		c.Main, c.Sub, c.Kind = int64(r.number()), uint32(r.number()), r.kind()
		if c.Kind == mvcc.KindPut {
			c.Create, c.Number, c.Lease = int64(r.number()), int64(r.number()), int64(r.number())
			c.Value = r.bytes()
		}
		if r.broken || len(c.Key) == 0 {
			return nil, fmt.Errorf("%w: %d bytes of changes", errMalformed, len(body))
		}
		list = append(list, c)
	}
	return list, nil
}

// reader reads a message from its beginning. Once it is broken it reads nothing more.
type reader struct {
	rest   []byte
	broken bool
}

func (r *reader) number() uint64 {
	n, length := binary.Uvarint(r.rest)
	if length <= 0 {
		r.broken, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[length:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.broken, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) kind() byte {
	if len(r.rest) == 0 || r.rest[0] > mvcc.KindDelete {
		r.broken, r.rest = true, nil
		return mvcc.KindDelete
	}
	k := r.rest[0]
	r.rest = r.rest[1:]
	return k
}
