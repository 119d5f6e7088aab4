package mvcc

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Alarm is what a member has raised for the whole fleet: a kind, as etcd numbers them, and the member's identity.
type Alarm struct {
	Kind   int32
	Member uint64
}

// Alarms are those that are raised, in order, each once. Values are immutable.
type Alarms []Alarm

func compareAlarms(a, b Alarm) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Member, b.Member))
}

// Has reports whether an alarm is raised.
func (s Alarms) Has(a Alarm) bool {
	_, found := slices.BinarySearchFunc(s, a, compareAlarms)
	return found
}

// With returns the alarms with a raised.
func (s Alarms) With(a Alarm) Alarms {
	i, found := slices.BinarySearchFunc(s, a, compareAlarms)
	if found {
		return s
	}
	return slices.Insert(slices.Clone(s), i, a)
}

// Without returns the alarms with a disarmed.
func (s Alarms) Without(a Alarm) Alarms {
	i, found := slices.BinarySearchFunc(s, a, compareAlarms)
	if !found {
		return s
	}
	return slices.Delete(slices.Clone(s), i, i+1)
}

// Raised reports whether any member has raised an alarm of a kind.
func (s Alarms) Raised(kind int32) bool {
	return slices.ContainsFunc(s, func(a Alarm) bool { return a.Kind == kind })
}

const (
	alarmsVersion = 1
	alarmBytes    = 4 + 8
)

// Append appends the encoding to dst: version, kind and member of each, CRC-32C.
func (s Alarms) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, alarmsVersion)
	for _, a := range s {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(a.Kind))
		dst = binary.LittleEndian.AppendUint64(dst, a.Member)
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func decodeAlarms(p []byte) (Alarms, error) {
	if len(p) < 1+4 || (len(p)-1-4)%alarmBytes != 0 || p[0] != alarmsVersion {
		return nil, fmt.Errorf("%w: alarms of %d bytes", ErrCorrupt, len(p))
	}
	body := p[:len(p)-4]
	if got, want := crc32.Checksum(body, castagnoli), binary.LittleEndian.Uint32(p[len(p)-4:]); got != want {
		return nil, fmt.Errorf("%w: alarms have checksum %08x, want %08x", ErrCorrupt, got, want)
	}
	var s Alarms
	for body = body[1:]; len(body) > 0; body = body[alarmBytes:] {
		a := Alarm{Kind: int32(binary.LittleEndian.Uint32(body)), Member: binary.LittleEndian.Uint64(body[4:])}
		if n := len(s); n > 0 && compareAlarms(s[n-1], a) >= 0 {
			return nil, fmt.Errorf("%w: alarms are not in order", ErrCorrupt)
		}
		s = append(s, a)
	}
	return s, nil
}

// LoadAlarms returns the alarms in db.
func LoadAlarms(db pebble.Reader) (Alarms, error) {
	p, err := get(db, keyAlarms)
	if err != nil || p == nil {
		return nil, err
	}
	return decodeAlarms(p)
}

// Alarms replaces the alarms.
func (w *Writer) Alarms(s Alarms) error {
	w.other = s.Append(w.other[:0])
	return w.set(keyAlarms, w.other)
}
