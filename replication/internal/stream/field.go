package stream

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/mimir-kv/mimir/replication/timeline"
)

func appendCursor(m []byte, c timeline.Cursor) []byte {
	m = binary.LittleEndian.AppendUint64(m, uint64(c.Epoch))
	m = binary.LittleEndian.AppendUint64(m, uint64(c.Position))
	return append(m, c.Chain[:]...)
}

// appendText appends a text, cut at what its length field can say.
func appendText(m []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	m = binary.LittleEndian.AppendUint16(m, uint16(len(s)))
	return append(m, s...)
}

// appendReigns appends reigns as the payloads that the log holds of them.
func appendReigns(m []byte, reigns []timeline.Reign) []byte {
	m = binary.LittleEndian.AppendUint32(m, uint32(len(reigns)))
	for _, r := range reigns {
		at := len(m)
		m = timeline.AppendReign(binary.LittleEndian.AppendUint32(m, 0), r)
		binary.LittleEndian.PutUint32(m[at:], uint32(len(m)-at-4))
	}
	return m
}

// appendFormed appends the disks with which a region was formed; nothing if there are none.
func appendFormed(m []byte, formed map[uint64]string) []byte {
	if len(formed) == 0 {
		return m
	}
	m = binary.LittleEndian.AppendUint32(m, uint32(len(formed)))
	for _, id := range slices.Sorted(maps.Keys(formed)) {
		m = appendText(binary.LittleEndian.AppendUint64(m, id), formed[id])
	}
	return m
}

// fieldReader reads the fields of a body. After a field that is not there, all further ones are zero.
type fieldReader struct {
	rest []byte
	fail bool
}

func (r *fieldReader) take(n int) []byte {
	if r.fail || n > len(r.rest) {
		r.fail = true
		return nil
	}
	p := r.rest[:n]
	r.rest = r.rest[n:]
	return p
}

func (r *fieldReader) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *fieldReader) uint16() uint16 {
	if p := r.take(2); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

func (r *fieldReader) uint32() uint32 {
	if p := r.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *fieldReader) uint64() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *fieldReader) text() string { return string(r.take(int(r.uint16()))) }

func (r *fieldReader) cursor() timeline.Cursor {
	c := timeline.Cursor{Epoch: timeline.Epoch(r.uint64()), Position: timeline.Position(r.uint64())}
	copy(c.Chain[:], r.take(len(c.Chain)))
	return c
}

func (r *fieldReader) reigns() []timeline.Reign {
	n := r.uint32()
	if n > maxReigns {
		r.fail = true
		return nil
	}
	var reigns []timeline.Reign
	for range n {
		size := r.uint32()
		if uint64(size) > uint64(len(r.rest)) {
			r.fail = true
			return nil
		}
		reign, err := timeline.DecodeReign(r.take(int(size)))
		if err != nil {
			r.fail = true
			return nil
		}
		reigns = append(reigns, reign)
	}
	return reigns
}

// formed reads to the end: who does not say it has nothing there. What is there is as appendFormed has it.
func (r *fieldReader) formed() map[uint64]string {
	if r.fail || len(r.rest) == 0 {
		return nil
	}
	n := r.uint32()
	formed := map[uint64]string{}
	for last := uint64(0); n > 0 && n <= maxFormed && uint32(len(formed)) < n; {
		id := r.uint64()
		if r.fail = r.fail || len(formed) > 0 && id <= last; r.fail {
			return nil
		}
		last, formed[id] = id, r.text()
	}
	r.fail = r.fail || len(formed) == 0
	return formed
}

// end returns an error unless everything was there and nothing is left.
func (r *fieldReader) end(what string) error {
	if r.fail || len(r.rest) != 0 {
		return fmt.Errorf("%w: malformed %s", ErrProtocol, what)
	}
	return nil
}
