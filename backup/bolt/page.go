package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
)

// ErrBroken says that bytes are no file of bbolt, or no whole one.
var ErrBroken = errors.New("not a whole file of bbolt")

// A file is pages. Each begins with its number (8 bytes), its kind (2), how many elements it has (2), and how many
// further pages it goes on for (4). The first two are metas: the one with the greater transaction counts. Numbers are
// little endian.
const (
	pageHeadBytes = 16
	elementBytes  = 16

	kindBranch   = 0x01
	kindLeaf     = 0x02
	kindMeta     = 0x04
	kindFreelist = 0x10

	isBucket = 0x01 // flag of an element of a leaf

	metaBytes   = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2

	bucketHeadBytes = 16 // root page, sequence; a root of zero has its page behind it

	minPageBytes = 1 << 10
	maxPageBytes = 64 << 10
	leastPages   = 3 // two metas and a root
	maxElements  = 1<<16 - 1
	maxDepth     = 64
)

// meta is where everything is.
type meta struct {
	pageBytes uint64
	root      uint64
	freelist  uint64
	pages     uint64 // the number of the first page that does not exist
	txid      uint64
}

func (m *meta) encode() []byte {
	p := binary.LittleEndian.AppendUint32(nil, metaMagic)
	p = binary.LittleEndian.AppendUint32(p, metaVersion)
	p = binary.LittleEndian.AppendUint32(p, uint32(m.pageBytes))
	p = binary.LittleEndian.AppendUint32(p, 0)
	for _, v := range []uint64{m.root, 0, m.freelist, m.pages, m.txid} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	return binary.LittleEndian.AppendUint64(p, sumOf(p))
}

func sumOf(p []byte) uint64 {
	h := fnv.New64a()
	h.Write(p)
	return h.Sum64()
}

func decodeMeta(p []byte) (m meta, err error) {
	if len(p) < metaBytes {
		return m, fmt.Errorf("%w: a meta of %d bytes", ErrBroken, len(p))
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(p[at:]) }
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(p[at:]) }
	m = meta{pageBytes: uint64(u32(8)), root: u64(16), freelist: u64(32), pages: u64(40), txid: u64(48)}
	switch size := m.pageBytes; {
	case u32(0) != metaMagic:
		return m, fmt.Errorf("%w: it does not begin as one", ErrBroken)
	case u32(4) != metaVersion:
		return m, fmt.Errorf("%w: version %d, this version knows %d", ErrBroken, u32(4), metaVersion)
	case u64(56) != sumOf(p[:56]):
		return m, fmt.Errorf("%w: a meta has another checksum", ErrBroken)
	case m.pages < leastPages:
		return m, fmt.Errorf("%w: a meta of %d pages", ErrBroken, m.pages)
	case size < minPageBytes || size > maxPageBytes || size&(size-1) != 0:
		return m, fmt.Errorf("%w: pages of %d bytes", ErrBroken, size)
	}
	return m, nil
}

// page is a page with those for which it goes on.
type page struct {
	number uint64
	bytes  []byte
}

func (p *page) kind() uint16  { return binary.LittleEndian.Uint16(p.bytes[8:]) }
func (p *page) count() uint64 { return uint64(binary.LittleEndian.Uint16(p.bytes[10:])) }

func (p *page) broken(format string, args ...any) error {
	return fmt.Errorf("%w: page %d: %s", ErrBroken, p.number, fmt.Sprintf(format, args...))
}

// element returns where an element is, and its four fields of 4 bytes.
func (p *page) element(i uint64) (at uint64, field [4]uint32, err error) {
	at = pageHeadBytes + i*elementBytes
	if at+elementBytes > uint64(len(p.bytes)) {
		return 0, field, p.broken("element %d of %d lies outside", i, p.count())
	}
	for n := range field {
		field[n] = binary.LittleEndian.Uint32(p.bytes[at+4*uint64(n):])
	}
	return at, field, nil
}

// part returns so many bytes at an offset.
func (p *page) part(at, size uint64) ([]byte, error) {
	if end := at + size; end > uint64(len(p.bytes)) { // each is a few numbers of 32 bits
		return nil, p.broken("%d bytes at %d lie outside", size, at)
	}
	return p.bytes[at : at+size : at+size], nil
}

// leaf returns an element of a leaf.
func (p *page) leaf(i uint64) (flags uint32, key, value []byte, err error) {
	at, f, err := p.element(i)
	if err != nil {
		return 0, nil, nil, err
	}
	if key, err = p.part(at+uint64(f[1]), uint64(f[2])); err != nil {
		return 0, nil, nil, err
	}
	value, err = p.part(at+uint64(f[1])+uint64(f[2]), uint64(f[3]))
	return f[0], key, value, err
}

// branch returns the page to which an element of a branch leads.
func (p *page) branch(i uint64) (child uint64, err error) {
	_, f, err := p.element(i)
	return uint64(f[2]) | uint64(f[3])<<32, err
}
