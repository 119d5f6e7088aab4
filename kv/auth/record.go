package auth

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/kv/command"
)

// ErrCorrupt says that a record is not what was written.
var ErrCorrupt = errors.New("kv: corrupt record of users and roles")

// Kinds of records. They are on disk: never change one.
const (
	kindSettings byte = 's'
	kindUser     byte = 'u'
	kindRole     byte = 'r'
)

const recordVersion = 1

// A record is its version, what it says, and the CRC-32C of both. The text of users and roles is that of etcd's
// messages.

func seal(text []byte) []byte {
	return binary.LittleEndian.AppendUint32(text, crc32.Checksum(text, castagnoli))
}

func unseal(p []byte) ([]byte, error) {
	if len(p) < 1+4 || p[0] != recordVersion {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(p))
	}
	text := p[:len(p)-4]
	if got, want := crc32.Checksum(text, castagnoli), binary.LittleEndian.Uint32(p[len(p)-4:]); got != want {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	return text[1:], nil
}

func encodeRecord(m proto.Message) []byte {
	p, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{recordVersion}, m)
	if err != nil {
		panic(fmt.Sprintf("auth: encode %T: %v", m, err)) // names came in messages, and so are UTF-8
	}
	return seal(p)
}

// encode returns the record of settings: whether enabled, the revision, the key.
func (s *settings) encode() []byte {
	p := []byte{recordVersion, 0}
	if s.enabled {
		p[1] = 1
	}
	return seal(append(binary.LittleEndian.AppendUint64(p, s.revision), s.tokenKey...))
}

func (s *settings) decode(p []byte) error {
	n := len(p) - 1 - 8
	if n != 0 && n != command.TokenKeyBytes || p[0] > 1 {
		return fmt.Errorf("%w: settings of %d bytes", ErrCorrupt, len(p))
	}
	s.enabled, s.revision = p[0] == 1, binary.LittleEndian.Uint64(p[1:])
	if s.tokenKey = nil; n > 0 {
		s.tokenKey = bytes.Clone(p[9:])
	}
	return nil
}

// Load makes a state of its records.
type Load struct{ state *State }

// NewLoad returns one without records.
func NewLoad() Load { return Load{New()} }

// Add takes a record. The error is ErrCorrupt.
func (l Load) Add(kind byte, name string, record []byte) error {
	text, err := unseal(record)
	if err != nil {
		return fmt.Errorf("%c %q: %w", kind, name, err)
	}
	switch s := l.state; {
	case kind == kindSettings && name == "":
		return s.settings.decode(text)
	case kind == kindUser:
		u := &authpb.User{}
		if err := proto.Unmarshal(text, u); err != nil || string(u.Name) != name || u.Options == nil ||
			!slices.IsSorted(u.Roles) {
			return fmt.Errorf("%w: user %q", ErrCorrupt, name)
		}
		s.users[name] = &user{User: u}
		s.bytes += userBytes(u)
	case kind == kindRole:
		r := &authpb.Role{}
		if err := proto.Unmarshal(text, r); err != nil || string(r.Name) != name || !inOrder(r) {
			return fmt.Errorf("%w: role %q", ErrCorrupt, name)
		}
		s.roles[name] = r
		s.bytes += roleBytes(r)
	default:
		return fmt.Errorf("%w: kind %q, name %q", ErrCorrupt, kind, name)
	}
	return nil
}

func inOrder(r *authpb.Role) bool {
	return slices.IsSortedFunc(r.KeyPermission, func(a, b *authpb.Permission) int {
		return bytes.Compare(a.Key, b.Key)
	})
}

// State returns what was loaded.
func (l Load) State() *State { return l.state }

// Append appends all records to dst, in order: equal states append the same. An unused one appends nothing.
func (s *State) Append(dst []byte) []byte {
	if !s.Used() {
		return dst
	}
	dst = appendRecord(dst, s.settings.encode())
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		dst = appendRecord(dst, encodeRecord(s.users[name].User))
	}
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		dst = appendRecord(dst, encodeRecord(s.roles[name]))
	}
	return dst
}

func appendRecord(dst, record []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(record))), record...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
