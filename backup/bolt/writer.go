package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// pageBytes is how large the pages are that are written: as most machines have them, and etcd expects nothing.
const pageBytes = 4096

// Writer writes a file of bbolt from its beginning to its end, in one pass. In memory it has the first key of each
// page of the bucket under way. It is used by one goroutine.
type Writer struct {
	w    io.WriterAt
	next uint64 // page
	top  []element
	name string // of the bucket under way
	leaf []element
	size int      // of leaf, as a page
	tree []parent // leaves of the bucket under way
	last []byte   // key of it
	open bool
}

type element struct {
	flags      uint32
	key, value []byte
}

// parent is what a branch has of a page below it.
type parent struct {
	key  []byte
	page uint64
}

// NewWriter returns a writer to w, which is empty.
func NewWriter(w io.WriterAt) *Writer { return &Writer{w: w, next: 2} }

// Bucket begins the next bucket. Names come in order.
func (w *Writer) Bucket(name string) error {
	if n := len(w.top); w.open && name <= w.name || n > 0 && name <= string(w.top[n-1].key) {
		return fmt.Errorf("bolt: bucket %q behind %q", name, w.name)
	}
	if err := w.end(); err != nil {
		return err
	}
	w.name, w.open, w.last, w.size = name, true, nil, pageHeadBytes
	return nil
}

// Put adds a key to the bucket. Keys come in order, and are not empty.
func (w *Writer) Put(key, value []byte) error {
	if len(key) == 0 || bytes.Compare(key, w.last) <= 0 {
		return fmt.Errorf("bolt: key %x behind %x in bucket %q", key, w.last, w.name)
	}
	w.last = append(w.last[:0], key...)
	size := elementBytes + len(key) + len(value)
	if len(w.leaf) > 0 && w.size+size > pageBytes {
		if err := w.endLeaf(); err != nil {
			return err
		}
	}
	w.leaf = append(w.leaf, element{key: bytes.Clone(key), value: bytes.Clone(value)})
	w.size += size
	return nil
}

func (w *Writer) endLeaf() error {
	first := []byte(nil)
	if len(w.leaf) > 0 {
		first = w.leaf[0].key
	}
	at, err := w.page(kindLeaf, leafOf(w.leaf), len(w.leaf))
	w.tree = append(w.tree, parent{first, at})
	w.leaf, w.size = w.leaf[:0], pageHeadBytes
	return err
}

// end writes what is left of the bucket under way.
func (w *Writer) end() error {
	if !w.open {
		return nil
	}
	root, err := w.endTree()
	if err != nil {
		return err
	}
	head := binary.LittleEndian.AppendUint64(nil, root)
	w.top = append(w.top, element{isBucket, []byte(w.name), append(head, make([]byte, 8)...)})
	w.open = false
	return nil
}

// endTree writes the branches over the leaves, and returns the root.
func (w *Writer) endTree() (root uint64, err error) {
	if len(w.leaf) > 0 || len(w.tree) == 0 {
		if err := w.endLeaf(); err != nil {
			return 0, err
		}
	}
	for len(w.tree) > 1 {
		var above []parent
		for rest := w.tree; len(rest) > 0; {
			n := fit(rest)
			at, err := w.page(kindBranch, branchOf(rest[:n]), n)
			if err != nil {
				return 0, err
			}
			above = append(above, parent{rest[0].key, at})
			rest = rest[n:]
		}
		w.tree = above
	}
	root, w.tree = w.tree[0].page, nil
	return root, nil
}

// fit returns how many pages the next branch has, at least two, of at least two.
func fit(rest []parent) int {
	size, n := pageHeadBytes, 0
	for n < len(rest) && (n < 2 || size+elementBytes+len(rest[n].key) <= pageBytes) {
		size += elementBytes + len(rest[n].key)
		n++
	}
	switch len(rest) - n {
	case 1: // none has one alone
		if n > 2 {
			return n - 1
		}
		return n + 1
	default:
		return n
	}
}

// Close writes what leads to everything. The file is whole then, and not synced.
func (w *Writer) Close() error {
	if err := w.end(); err != nil {
		return err
	}
	for _, e := range w.top {
		size := elementBytes + len(e.key) + len(e.value)
		if len(w.leaf) > 0 && w.size+size > pageBytes {
			if err := w.endLeaf(); err != nil {
				return err
			}
		}
		w.leaf, w.size = append(w.leaf, e), w.size+size
	}
	m := meta{pageBytes: pageBytes}
	var err error
	if m.root, err = w.endTree(); err != nil {
		return err
	}
	if m.freelist, err = w.page(kindFreelist, nil, 0); err != nil {
		return err
	}
	m.pages = w.next
	for n := range uint64(2) {
		m.txid = n
		if err := w.write(n, kindMeta, m.encode(), 0, 1); err != nil {
			return err
		}
	}
	return nil
}

// page writes a page where the next one is, with the elements in body.
func (w *Writer) page(kind uint16, body []byte, count int) (number uint64, err error) {
	number = w.next
	pages := uint64(pageHeadBytes+len(body)+pageBytes-1) / pageBytes
	w.next += pages
	return number, w.write(number, kind, body, count, pages)
}

func (w *Writer) write(number uint64, kind uint16, body []byte, count int, pages uint64) error {
	if count > maxElements || pages > 1<<32 {
		return fmt.Errorf("bolt: a page of %d elements, %d pages long", count, pages)
	}
	p := make([]byte, 0, pages*pageBytes)
	p = binary.LittleEndian.AppendUint64(p, number)
	p = binary.LittleEndian.AppendUint16(p, kind)
	p = binary.LittleEndian.AppendUint16(p, uint16(count))
	p = binary.LittleEndian.AppendUint32(p, uint32(pages-1))
	p = append(p, body...)
	_, err := w.w.WriteAt(p[:cap(p)], int64(number*pageBytes))
	return err
}

// leafOf and branchOf return what follows the head of a page: the elements, which say how far behind them their keys
// are, and then keys and values.
func leafOf(all []element) []byte {
	var heads, texts []byte
	for i, e := range all {
		at := (len(all)-i)*elementBytes + len(texts)
		for _, v := range []uint32{e.flags, uint32(at), uint32(len(e.key)), uint32(len(e.value))} {
			heads = binary.LittleEndian.AppendUint32(heads, v)
		}
		texts = append(append(texts, e.key...), e.value...)
	}
	return append(heads, texts...)
}

func branchOf(all []parent) []byte {
	var heads, texts []byte
	for i, c := range all {
		at := (len(all)-i)*elementBytes + len(texts)
		heads = binary.LittleEndian.AppendUint32(heads, uint32(at))
		heads = binary.LittleEndian.AppendUint32(heads, uint32(len(c.key)))
		heads = binary.LittleEndian.AppendUint64(heads, c.page)
		texts = append(texts, c.key...)
	}
	return append(heads, texts...)
}
