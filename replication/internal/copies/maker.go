package copies

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

// Names in a copy. They are on disk: never change one.
const (
	metadataFile   = "METADATA"
	contentsFolder = "contents"
	StreamFile     = "stream"
)

// ErrReplaced says that a copy was not finished because the state that it was made of is being replaced by another, or
// its node ends.
var ErrReplaced = errors.New("copies: the state is being replaced, or the node ends")

// Maker makes copies of one storage and puts them back. Begin and Restore are called where no command is being applied,
// and not concurrently with each other; the other methods are safe for concurrent use.
type Maker struct {
	fs      durable.FS
	storage contract.Storage

	mu    sync.Mutex
	open  map[*Part]bool // parts that hold a view
	ended bool           // nothing is written any more
}

// NewMaker returns the maker of copies of storage, which are directories on fs.
func NewMaker(fs durable.FS, storage contract.Storage) *Maker {
	return &Maker{fs: fs, storage: storage, open: map[*Part]bool{}}
}

// FS returns where copies are directories.
func (m *Maker) FS() durable.FS { return m.fs }

// Begin takes hold of the content as it is now, for a copy in dir, which nothing else uses. meta describes that
// content. It is quick: what takes long is left to [Part.Write].
func (m *Maker) Begin(dir string, meta *contract.Metadata) (*Part, error) {
	p := &Part{maker: m, dir: dir, meta: meta, closed: make(chan struct{})}
	if c, ok := m.storage.(contract.Checkpointer); ok {
		if err := durable.MakeDir(m.fs, dir); err != nil {
			return nil, err
		}
		if err := c.Checkpoint(Contents(dir)); err != nil {
			return nil, fmt.Errorf("storage: checkpoint: %w", err)
		}
		return p, nil
	}
	view, err := m.storage.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("storage: snapshot: %w", err)
	}
	p.view = view
	m.mu.Lock()
	m.open[p] = true
	if m.ended {
		p.Revoke()
	}
	m.mu.Unlock()
	return p, nil
}

// Metadata returns the metadata of the copy in dir.
func (m *Maker) Metadata(dir string) (*contract.Metadata, error) { return ReadMetadata(m.fs, dir) }

// Contents returns where in the copy in dir the storage's files are: those of a Checkpointer, or StreamFile.
func Contents(dir string) string { return filepath.Join(dir, contentsFolder) }

// ReadMetadata returns the metadata of the copy in dir, whatever storage it is of; an error if it is none (C2).
func ReadMetadata(fs durable.FS, dir string) (*contract.Metadata, error) {
	encoded, err := durable.ReadFile(fs, filepath.Join(dir, metadataFile))
	if err != nil {
		return nil, err
	}
	meta := new(contract.Metadata)
	return meta, meta.UnmarshalBinary(encoded)
}

// Look returns the metadata of the copy in dir; nil if there is none, or a part of one, or what is there is none. Its
// error says that this cannot be read now, so that nobody knows which.
func Look(fs durable.FS, dir string) (*contract.Metadata, error) {
	meta, err := ReadMetadata(fs, dir)
	switch {
	case err == nil:
		return meta, nil
	case errors.Is(err, os.ErrNotExist), errors.Is(err, contract.ErrMetadata):
		return nil, nil
	default:
		return nil, fmt.Errorf("look at the copy in %s: %w", dir, err)
	}
}

// Spoil has what is in dir be no copy any more (C2), durably unless the disk lacks room even for that. Whoever removes
// a copy file by file begins with it: after a power cut what is left of one passes for none. That it is missing is no
// error.
func Spoil(fs durable.FS, dir string) error {
	err := fs.Remove(filepath.Join(dir, metadataFile))
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = fs.SyncDir(dir)
		if durable.Full(err) || errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("have what is in %s be no copy: %w", dir, err)
	}
	return nil
}

// Restore replaces the content of the storage by the copy in dir, with meta in place of the copy's own metadata. Parts
// that hold a view are told to end, and waited for. Error: ErrDamaged if the copy is not what was written; the storage
// then has the content that it had (C5).
func (m *Maker) Restore(dir string, meta *contract.Metadata) error {
	m.revoke()
	contents := Contents(dir)
	stream := filepath.Join(contents, StreamFile)
	c, files := m.storage.(contract.Checkpointer)
	err := hasContents(m.fs, contents, true)
	if err == nil && !files {
		err = hasContents(m.fs, stream, false)
	}
	if err != nil {
		return err
	}
	if files {
		return ofStorage(c.Install(contents, meta))
	}
	if err := verify(m.fs, dir); err != nil {
		return err
	}
	f, err := m.fs.Open(stream)
	if err != nil {
		return err
	}
	defer f.Close()
	return ofStorage(m.storage.Restore(bufio.NewReaderSize(f, 1<<20), meta))
}

// ErrStorage says that a call of the storage failed so that the node ends. Only one that is opened anew is known to
// have what it should.
var ErrStorage = errors.New("storage")

// ofStorage says of err, of a call of the storage, that it is.
func ofStorage(err error) error {
	if err == nil || errors.Is(err, contract.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrStorage, err)
}

// hasContents returns ErrDamaged if something of a copy is not there, or is no directory where it has to be one: nobody
// else removes what is put back.
func hasContents(fs durable.FS, path string, dir bool) error {
	info, err := fs.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %w", contract.ErrDamaged, err)
	case err != nil:
		return err
	case info.IsDir() != dir:
		return fmt.Errorf("%w: %s is a directory: %t", contract.ErrDamaged, path, info.IsDir())
	default:
		return nil
	}
}

// End has every part that holds a view end, and each that is begun later, and waits for none: the node ends, and waits
// for whoever writes one out, which may take as long as the whole state does.
func (m *Maker) End() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	for p := range m.open {
		p.Revoke()
	}
}

// revoke ends every open view. Nobody begins another meanwhile.
func (m *Maker) revoke() {
	m.mu.Lock()
	var open []*Part
	for p := range m.open {
		p.Revoke()
		open = append(open, p)
	}
	m.mu.Unlock()
	for _, p := range open {
		<-p.closed
	}
}
