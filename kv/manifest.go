package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	iofs "io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// checkManifest refuses a list of tables that is damaged before its end. Pebble takes whatever it cannot read for what
// a crash left of the last write, and goes on without all that comes behind it; what then lacks panics much later.
func checkManifest(fs vfs.FS, path string) error {
	text, good, broken, err := readManifest(fs, path)
	if err == nil && broken != nil && holdsRecord(text, good+1) {
		err = fmt.Errorf("%w: %s: record at offset %d, and there are whole ones behind it: %w", replication.ErrDamaged,
			path, good, broken)
	}
	return err
}

// checkWhole is checkManifest of a checkpoint, which was whole before anybody had it: no crash has cut its list of
// tables, and what cannot be read of its end either is damage. Pebble would go on with an older content, or with none.
func checkWhole(fs vfs.FS, path string) error {
	_, good, broken, err := readManifest(fs, path)
	if err == nil && broken != nil {
		err = fmt.Errorf("%w: %s: record at offset %d: %w", replication.ErrDamaged, path, good, broken)
	}
	return err
}

// readManifest returns what a list of tables holds, and of the first record in it that is not whole, if there is one,
// what is wrong and up to where all are.
func readManifest(fs vfs.FS, path string) (text []byte, good int64, broken, err error) {
	f, err := fs.Open(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, 0, nil, fmt.Errorf("%w: %w", replication.ErrDamaged, err)
	} else if err != nil {
		return nil, 0, nil, err
	}
	text, err = io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, 0, nil, fmt.Errorf("read %s: %w", path, err)
	}
	source := &consumed{text: text}
	for reader := record.NewReader(source, 0); broken == nil; {
		var r io.Reader
		good = reader.Offset()
		if r, broken = reader.Next(); broken == nil {
			_, broken = io.Copy(io.Discard, r)
		}
	}
	if errors.Is(broken, io.EOF) {
		broken = nil
	}
	return text, good, broken, nil
}

// checkSequence refuses a database whose list of tables was cut: what it writes next would be numbered as something
// that a table holds. It is called before anything is written.
func checkSequence(db *pebble.DB, path string) error {
	levels, err := db.SSTables()
	if err != nil {
		return err
	}
	highest := uint64(0)
	for _, tables := range levels {
		for i := range tables {
			highest = max(highest, uint64(tables[i].LargestSeqNum))
		}
	}
	batch := db.NewBatch()
	defer batch.Close()
	if err := errors.Join(batch.LogData(nil, nil), batch.Commit(pebble.NoSync)); err != nil {
		return err
	}
	if next := uint64(batch.SeqNum()); next <= highest {
		return fmt.Errorf("%w: the MANIFEST of %s lacks its end: a table holds number %d, and the next one is %d",
			replication.ErrDamaged, path, highest, next)
	}
	return nil
}

// consumed reads text once.
type consumed struct{ text []byte }

func (c *consumed) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.text)
	c.text = c.text[n:]
	return n, nil
}

// The format of a record file: chunks of CRC-32C, masked; length; type; data, in blocks that no chunk crosses.
const (
	chunkHeaderBytes = 7
	chunkBlockBytes  = 32 << 10
	lastChunkType    = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// holdsRecord reports whether text holds a whole chunk at offset or anywhere behind it.
func holdsRecord(text []byte, offset int64) bool {
	for at := int(offset); at+chunkHeaderBytes < len(text); at++ {
		data, kind := text[at+chunkHeaderBytes:], text[at+6]
		size := int(binary.LittleEndian.Uint16(text[at+4:]))
		if kind == 0 || kind > lastChunkType || size == 0 || size > len(data) ||
			at%chunkBlockBytes+chunkHeaderBytes+size > chunkBlockBytes {
			continue
		}
		sum := crc32.Checksum(text[at+6:at+chunkHeaderBytes+size], castagnoli)
		if binary.LittleEndian.Uint32(text[at:]) == (sum>>15|sum<<17)+0xa282ead8 {
			return true
		}
	}
	return false
}
