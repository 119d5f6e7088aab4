package snapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/kv/mvcc"
)

// tableSuffix ends the names of Pebble's tables.
const tableSuffix = ".sst"

// blocks is a writer through which a table goes from its beginning to its end. It fails at the first block that is not
// what Pebble wrote, before it is passed on: of the bytes that go out, nobody else tells that they rotted.
type blocks struct {
	sum  block.ChecksumType
	left []block.Handle // those that have not gone through, in the order of the file
	at   uint64         // how much has
	part []byte         // what has of the first one
}

// blocksOf returns the blocks of the table at path, each once. What says where they are is checked as it is read. The
// error is mvcc.ErrCorrupt if that is not what was written.
func blocksOf(fs vfs.FS, path string) (b *blocks, err error) {
	f, err := fs.Open(path, vfs.RandomReadsOption)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil { // Pebble takes what it reads for its own
			err = errors.Join(fmt.Errorf("%w: Pebble cannot read it: %v", mvcc.ErrCorrupt, r), f.Close())
		}
	}()
	source, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(context.Background(), source, tableOptions())
	if err != nil {
		return nil, errors.Join(asCorrupt(err), source.Close())
	}
	layout, err := r.Layout()
	if err != nil {
		return nil, errors.Join(asCorrupt(err), r.Close())
	}
	return &blocks{sum: r.BlockReader().ChecksumType(), left: handles(layout)}, r.Close()
}

// tableOptions are those with which tables of the store are read.
var tableOptions = sync.OnceValue(func() sstable.ReaderOptions {
	o := &pebble.Options{Comparer: mvcc.Comparer}
	o.EnsureDefaults()
	return o.MakeReaderOptions()
})

// handles returns where the blocks of a table are, in the order of the file.
func handles(l *sstable.Layout) (all []block.Handle) {
	for i := range l.Data {
		all = append(all, l.Data[i].Handle)
	}
	for i := range l.Filter {
		all = append(all, l.Filter[i].Handle)
	}
	all = append(append(all, l.Index...), l.ValueBlock...)
	all = append(all, l.TopIndex, l.RangeDel, l.RangeKey, l.ValueIndex, l.Properties, l.MetaIndex, l.BlobReferenceIndex)
	all = slices.DeleteFunc(all, func(h block.Handle) bool { return h.Length == 0 }) // it has none of these
	slices.SortFunc(all, func(a, b block.Handle) int { return cmp.Compare(a.Offset, b.Offset) })
	return slices.Compact(all)
}

// asCorrupt wraps an error of reading a table in mvcc.ErrCorrupt if what was read is not what was written.
func asCorrupt(err error) error {
	if pebble.IsCorruptionError(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", mvcc.ErrCorrupt, err)
	}
	return err
}

// Write implements io.Writer.
func (b *blocks) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && len(b.left) > 0 {
		h := b.left[0]
		began := b.at - uint64(len(b.part))
		if len(b.part) == 0 && b.at < h.Offset {
			between := min(uint64(len(p)), h.Offset-b.at)
			p, b.at = p[between:], b.at+between
			continue
		}
		if began != h.Offset {
			return 0, fmt.Errorf("%w: two blocks at offset %d", mvcc.ErrCorrupt, h.Offset)
		}
		lacks := h.Length + block.TrailerLen - uint64(len(b.part))
		take := min(uint64(len(p)), lacks)
		b.part = append(b.part, p[:take]...)
		p, b.at = p[take:], b.at+take
		if take < lacks {
			break
		}
		if err := block.ValidateChecksum(b.sum, b.part, h); err != nil {
			return 0, fmt.Errorf("%w: block at offset %d: %w", mvcc.ErrCorrupt, h.Offset, err)
		}
		b.left, b.part = b.left[1:], b.part[:0]
	}
	b.at += uint64(len(p))
	return n, nil
}

// end returns mvcc.ErrCorrupt if not all blocks have gone through.
func (b *blocks) end() error {
	if len(b.left) > 0 {
		return fmt.Errorf("%w: it ends at %d, before its block at offset %d", mvcc.ErrCorrupt, b.at, b.left[0].Offset)
	}
	return nil
}
