package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// File is a file of bbolt that is read. It must not change meanwhile.
type File struct {
	r    io.ReaderAt
	size uint64
	meta meta
}

// Open returns the file that is the first size bytes of r. What lies behind its last page is not looked at. The error
// is ErrBroken, or one of r.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: io.NewSectionReader(r, 0, max(size, 0)), size: uint64(max(size, 0))}
	first, why, err := f.findMeta(0)
	if err != nil {
		return nil, err
	}
	if why == nil {
		f.meta = *first
		m, none, err := f.findMeta(first.pageBytes)
		if err != nil {
			return nil, err
		}
		if none == nil && m.txid > first.txid {
			f.meta = *m
		}
	} else if err := f.findSecond(); err != nil {
		return nil, err
	}
	m := &f.meta
	switch {
	case m.pages == 0:
		return nil, fmt.Errorf("no meta is valid: %w", why)
	case m.pages > f.size/m.pageBytes:
		return nil, fmt.Errorf("%w: %d bytes, and it has %d pages of %d: it was cut", ErrBroken, f.size, m.pages,
			m.pageBytes)
	}
	return f, nil
}

// findSecond takes the second meta, which is at a page of which the size is not known.
func (f *File) findSecond() error {
	for at := uint64(minPageBytes); at <= maxPageBytes && f.meta.pages == 0; at *= 2 {
		m, none, err := f.findMeta(at)
		if err != nil {
			return err
		}
		if none == nil && m.pageBytes == at {
			f.meta = *m
		}
	}
	return nil
}

// findMeta returns the meta of the page at an offset, or why there is none; err if that cannot be read.
func (f *File) findMeta(at uint64) (m *meta, none, err error) {
	p := make([]byte, metaBytes)
	n, err := f.r.ReadAt(p, int64(at+pageHeadBytes))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("read a meta at %d: %w", at, err)
	}
	found, none := decodeMeta(p[:n])
	return &found, none, nil
}

// Each calls visit with every key of a bucket, in order, and its value, both valid during the call. found is false if
// there is no such bucket. An error of visit ends the walk.
func (f *File) Each(bucket string, visit func(key, value []byte) error) (found bool, err error) {
	var root []byte
	top := f.walk(func(flags uint32, key, value []byte) error {
		if flags == isBucket && string(key) == bucket {
			root = bytes.Clone(value)
		}
		return nil
	})
	if err := top.from(f.meta.root, 0); err != nil || root == nil {
		return false, err
	}
	if len(root) < bucketHeadBytes {
		return false, fmt.Errorf("%w: bucket %q of %d bytes", ErrBroken, bucket, len(root))
	}
	w := f.walk(func(flags uint32, key, value []byte) error {
		if flags != 0 {
			return fmt.Errorf("%w: bucket %q has another one, %q, inside", ErrBroken, bucket, key)
		}
		return visit(key, value)
	})
	number := binary.LittleEndian.Uint64(root)
	if number != 0 {
		return true, w.from(number, 0)
	}
	inside := &page{bytes: root[bucketHeadBytes:]}
	if len(inside.bytes) < pageHeadBytes || inside.kind() != kindLeaf {
		return false, fmt.Errorf("%w: bucket %q has no page", ErrBroken, bucket)
	}
	return true, w.leaf(inside)
}

// walk is one way through a tree.
type walk struct {
	file  *File
	visit func(flags uint32, key, value []byte) error
	seen  []uint64 // pages, a bit each
	last  []byte   // key
	any   bool
}

func (f *File) walk(visit func(flags uint32, key, value []byte) error) *walk {
	return &walk{file: f, visit: visit, seen: make([]uint64, f.meta.pages/64+1)}
}

// from goes through what is below a page.
func (w *walk) from(number uint64, depth int) error {
	p, err := w.read(number)
	if err != nil {
		return err
	}
	switch {
	case p.kind() == kindLeaf:
		return w.leaf(p)
	case p.kind() != kindBranch:
		return p.broken("kind %#x", p.kind())
	case depth == maxDepth:
		return p.broken("it is %d pages below its root", depth)
	}
	for i := range p.count() {
		child, err := p.branch(i)
		if err == nil {
			err = w.from(child, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read returns a page that was not read before.
func (w *walk) read(number uint64) (*page, error) {
	m := &w.file.meta
	p := &page{number: number, bytes: make([]byte, pageHeadBytes)}
	if number < 2 || number >= m.pages {
		return nil, p.broken("there are pages from 2 to %d", m.pages-1)
	}
	at := int64(number * m.pageBytes)
	if err := w.fill(p, at); err != nil {
		return nil, err
	}
	further := uint64(binary.LittleEndian.Uint32(p.bytes[12:]))
	if id := binary.LittleEndian.Uint64(p.bytes); id != number || further >= m.pages-number {
		return nil, p.broken("it says that it is page %d, and goes on for %d", id, further)
	}
	for n := number; n <= number+further; n++ {
		if w.seen[n/64]&(1<<(n%64)) != 0 {
			return nil, p.broken("page %d is part of something else already", n)
		}
		w.seen[n/64] |= 1 << (n % 64)
	}
	p.bytes = make([]byte, (further+1)*m.pageBytes)
	return p, w.fill(p, at)
}

// fill reads a page. A file that is shorter than it was is broken.
func (w *walk) fill(p *page, at int64) error {
	switch n, err := w.file.r.ReadAt(p.bytes, at); {
	case n == len(p.bytes):
		return nil
	case errors.Is(err, io.EOF):
		return p.broken("the file ends inside it")
	default:
		return fmt.Errorf("read page %d: %w", p.number, err)
	}
}

func (w *walk) leaf(p *page) error {
	for i := range p.count() {
		flags, key, value, err := p.leaf(i)
		if err != nil {
			return err
		}
		if w.any && bytes.Compare(key, w.last) <= 0 {
			return p.broken("key %x behind %x", key, w.last)
		}
		w.last, w.any = append(w.last[:0], key...), true
		if err := w.visit(flags, key, value); err != nil {
			return err
		}
	}
	return nil
}
