package sim

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
)

// ledger is the simplest storage: the list of all commands and beginnings. With a filesystem it keeps them in a file, a
// record for each batch, durable after Sync; without one it is volatile.
type ledger struct {
	fs  durable.FS // nil: volatile
	dir string

	mu   sync.Mutex
	held ledgerState
	file durable.File
}

type ledgerState struct {
	Items []string // commands, and beginnings as text
	Meta  *replication.Metadata
}

// ledgerRecord is what one batch adds.
type ledgerRecord struct {
	Items []string
	Meta  *replication.Metadata
}

const (
	ledgerFile = "ledger"
	// ledgerPause lies between two tries to find room for a record.
	ledgerPause = 100 * time.Millisecond
)

// openLedger brings back what the file holds up to the first record that is not whole.
func openLedger(fs durable.FS, dir string) (*ledger, error) {
	l := &ledger{fs: fs, dir: dir}
	if fs == nil {
		return l, nil
	}
	if err := durable.MakeDir(fs, dir); err != nil {
		return nil, err
	}
	p, err := durable.ReadFile(fs, filepath.Join(dir, ledgerFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for {
		body, rest, ok := cutRecord(p)
		if !ok {
			break
		}
		var r ledgerRecord
		if err := gob.NewDecoder(bytes.NewReader(body)).Decode(&r); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		l.held.Items, l.held.Meta, p = append(l.held.Items, r.Items...), r.Meta, rest
	}
	return l, l.rewrite(l.held)
}

// cutRecord takes the first record off p: length and CRC of a body, and the body.
func cutRecord(p []byte) (body, rest []byte, ok bool) {
	if len(p) < 8 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint32(p))
	if n == 0 || len(p) < 8+n {
		return nil, nil, false
	}
	body = p[8 : 8+n]
	return body, p[8+n:], crc32.ChecksumIEEE(body) == binary.LittleEndian.Uint32(p[4:])
}

func encodeRecord(r ledgerRecord) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	if err := gob.NewEncoder(&b).Encode(r); err != nil {
		return nil, err
	}
	p := b.Bytes()
	binary.LittleEndian.PutUint32(p, uint32(len(p)-8))
	binary.LittleEndian.PutUint32(p[4:], crc32.ChecksumIEEE(p[8:]))
	return p, nil
}

// rewrite makes a new file that holds s, durably, in place of the old one.
func (l *ledger) rewrite(s ledgerState) error {
	path := filepath.Join(l.dir, ledgerFile)
	f, err := l.fs.Create(path + ".new")
	if err != nil {
		return err
	}
	if s.Meta != nil {
		p, err := encodeRecord(ledgerRecord(s))
		if err == nil {
			_, err = f.Write(p)
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := l.fs.Rename(path+".new", path); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := l.fs.SyncDir(l.dir); err != nil {
		return errors.Join(err, f.Close())
	}
	old := l.file
	l.file = f
	if old != nil {
		return old.Close()
	}
	return nil
}

// Load implements replication.Storage.
func (l *ledger) Load() (*replication.Metadata, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.Meta, nil
}

// Apply implements replication.Storage.
func (l *ledger) Apply(b *replication.Batch) ([][]byte, error) {
	r := ledgerRecord{Meta: b.Metadata}
	var results [][]byte
	for _, c := range b.Commands {
		r.Items = append(r.Items, string(c.Data))
		results = append(results, []byte("did "+string(c.Data[:min(len(c.Data), valueName)])))
	}
	return results, l.add(r)
}

// Begin implements replication.Storage.
func (l *ledger) Begin(r replication.Reign, meta *replication.Metadata) error {
	return l.add(ledgerRecord{Items: []string{beginning(r)}, Meta: meta})
}

// beginning is how a beginning stands in a ledger.
func beginning(r replication.Reign) string {
	return fmt.Sprintf("epoch %d of %s from %d, lossy %t", r.Epoch, r.Primary, r.First, r.Lossy)
}

// add waits for room, as the store of a server does.
func (l *ledger) add(r ledgerRecord) error {
	err := l.append(r)
	for durable.Full(err) {
		time.Sleep(ledgerPause)
		err = l.append(r)
	}
	return err
}

func (l *ledger) append(r ledgerRecord) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fs != nil {
		p, err := encodeRecord(r)
		if err == nil {
			_, err = l.file.Write(p) // a disk that is full takes nothing of it
		}
		if err != nil {
			return err
		}
	}
	l.held.Items, l.held.Meta = append(l.held.Items, r.Items...), r.Meta
	return nil
}

// Sync implements replication.Storage.
func (l *ledger) Sync() error {
	if l.fs == nil {
		return replication.ErrVolatile
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Sync()
}

// Snapshot implements replication.Storage.
func (l *ledger) Snapshot() (replication.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(l.held)
	return replication.SnapshotBytes(b.Bytes()), err
}

// Restore implements replication.Storage.
func (l *ledger) Restore(r io.Reader, meta *replication.Metadata) error {
	var s ledgerState
	if err := gob.NewDecoder(r).Decode(&s); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if meta != nil {
		s.Meta = meta
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fs != nil {
		if err := l.rewrite(s); err != nil {
			return err
		}
	}
	l.held = s
	return nil
}

// Close closes the file; what is not synced may be lost with the next crash.
func (l *ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// items returns a copy of what is held.
func (l *ledger) items() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.held.Items)
}
