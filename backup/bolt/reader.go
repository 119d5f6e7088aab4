package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// File is a file of bbolt that is read. It must not change meanwhile.
type File struct {
	r    io.ReaderAt
	size uint64
	meta meta
}

// Open returns the file that is the first size bytes of r. What lies behind its last page is not looked at.
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: uint64(max(size, 0))}
	first := f.findMeta(0)
	if first == nil { // the other one is at a page of which the size is not known
		for at := uint64(minPageBytes); at <= maxPageBytes && f.meta.pages == 0; at *= 2 {
			if m := f.findMeta(at); m != nil && m.pageBytes == at {
				f.meta = *m
			}
		}
	} else {
		f.meta = *first
		if m := f.findMeta(first.pageBytes); m != nil && m.txid > first.txid {
			f.meta = *m
		}
	}
	m := &f.meta
	switch {
	case m.pages == 0:
		_, err := decodeMeta(f.head(0))
		return nil, fmt.Errorf("%w: no meta is valid: %w", ErrBroken, err)
	case m.pages > f.size/m.pageBytes:
		return nil, fmt.Errorf("%w: %d bytes, and it has %d pages of %d: it was cut", ErrBroken, f.size, m.pages,
			m.pageBytes)
	}
	return f, nil
}

// head returns the meta that would be at an offset; it may be shorter.
func (f *File) head(at uint64) []byte {
	p := make([]byte, metaBytes)
	n, _ := f.r.ReadAt(p, int64(at+pageHeadBytes))
	return p[:n]
}

func (f *File) findMeta(at uint64) *meta {
	if at+pageHeadBytes+metaBytes > f.size {
		return nil
	}
	if m, err := decodeMeta(f.head(at)); err == nil {
		return &m
	}
	return nil
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
	if _, err := w.file.r.ReadAt(p.bytes, at); err != nil {
		return nil, fmt.Errorf("read page %d: %w", number, err)
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
	if _, err := w.file.r.ReadAt(p.bytes, at); err != nil {
		return nil, fmt.Errorf("read page %d: %w", number, err)
	}
	return p, nil
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
