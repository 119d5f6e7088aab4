package recall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// heardVersion is the format of the file that holds a Memory. README.md has the table.
const heardVersion = 1

// How often a Memory is saved, if there is something to save: that a disk or a process is new, and that the log of one
// is longer. What is remembered of a log is less than the node has by as much as it writes meanwhile.
const (
	saveNewsEvery   = time.Second
	saveGrowthEvery = 10 * time.Second
)

// file is where a Memory is kept.
type file struct {
	fs     durable.FS
	path   string
	logger *slog.Logger
	failed bool // the last time
}

// heardFile is what the file holds, sealed. It is JSON, so that a version after this one can add to it.
type heardFile struct {
	Version int                   `json:"version"`
	Nodes   map[uint64]remembered `json:"nodes"`
	// Told are left out, and forgotten, by versions that do not know them; they keep what was told among Nodes.
	Told map[uint64]remembered `json:"told,omitempty"`
	// Witnesses are left out, and forgotten, by versions that do not know them.
	Witnesses map[string]witnessed `json:"witnesses,omitempty"`
	// Owed is left out, and forgotten, by versions that do not know it.
	Owed *Entry `json:"owed,omitempty"`
}

// Remember returns the Memory that is kept in the file at path. If what that holds is damaged nothing is remembered,
// which is logged: it is about other nodes, and this one does without. That it cannot be read now is an error, and
// ErrNewer if a newer version wrote it: another start may read it, and what is in it would be gone with the next Save.
func Remember(fs durable.FS, path string, logger *slog.Logger) (*Memory, error) {
	m := NewMemory()
	m.file = &file{fs: fs, path: path, logger: logger}
	encoded, err := durable.ReadFile(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	} else if err != nil {
		return nil, fmt.Errorf("read what was heard of the disks of other nodes: %w; start the node again; if the "+
			"disk never gives it back: take away the file %s, which forgets that", err, path)
	}
	if err := m.take(encoded); err != nil {
		return nil, err
	}
	return m, nil
}

// take takes what the file holds.
func (m *Memory) take(encoded []byte) error {
	var f heardFile
	whole, sealed := checksum.Unbroken(encoded)
	err := json.Unmarshal(encoded, &f)
	switch {
	case err == nil && whole && sealed && f.Version > heardVersion:
		return fmt.Errorf("%w: %s has format %d, this version knows %d: start the version that wrote it",
			contract.ErrNewer, m.file.path, f.Version, heardVersion)
	case err == nil && f.Version != heardVersion:
		err = fmt.Errorf("format %d, this version knows %d", f.Version, heardVersion)
	case err == nil && !(whole && sealed):
		err = errors.New("the checksum is another")
	case err == nil && (max(len(f.Nodes), len(f.Told)) > maxNodes || len(f.Witnesses) > maxWitnesses):
		err = fmt.Errorf("%d nodes, %d witnesses", len(f.Nodes), len(f.Witnesses))
	}
	if err != nil {
		m.file.logger.Warn("what was heard of the disks of other nodes cannot be read: what they held before this "+
			"start is not remembered here", "file", m.file.path, "err", err)
		return nil
	}
	for id, n := range f.Nodes {
		m.nodes[id], m.heard = n, max(m.heard, n.Heard)
	}
	for id, n := range f.Told {
		m.told[id], m.heard = n, max(m.heard, n.Heard)
	}
	for id, w := range f.Witnesses {
		m.witnesses[id], m.heard = w, max(m.heard, w.Heard)
	}
	if f.Owed != nil {
		m.owed = *f.Owed
	}
	return nil
}

// Run saves now and then until ctx ends.
func (m *Memory) Run(ctx context.Context, c clock.Clock) {
	ticker := c.NewTicker(saveNewsEvery)
	defer ticker.Stop()
	for last := c.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
		m.mu.Lock()
		due := m.news || m.grown && c.Now().Sub(last) >= saveGrowthEvery
		m.mu.Unlock()
		if due {
			m.Save()
			last = c.Now()
		}
	}
}

// Save saves what is new, durably. What cannot be saved is logged, and saved the next time.
func (m *Memory) Save() {
	m.saving.Lock()
	defer m.saving.Unlock()
	m.mu.Lock()
	f := heardFile{
		Version: heardVersion, Nodes: maps.Clone(m.nodes), Told: maps.Clone(m.told), Witnesses: maps.Clone(m.witnesses),
	}
	if m.owed.Index != 0 {
		f.Owed = new(m.owed)
	}
	news, grown := m.news, m.grown
	m.news, m.grown = false, false
	m.mu.Unlock()
	if m.file == nil || !news && !grown {
		return
	}
	err := m.file.write(f)
	if err != nil {
		m.mu.Lock()
		m.news, m.grown = m.news || news, m.grown || grown
		m.mu.Unlock()
	}
	if err != nil && !m.file.failed {
		m.file.logger.Warn("cannot save what was heard of the disks of other nodes; tries on", "err", err)
	}
	m.file.failed = err != nil
}

func (f *file) write(h heardFile) error {
	encoded, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return durable.WriteFile(f.fs, f.path, func(w io.Writer) error {
		_, err := w.Write(append(checksum.Seal(encoded), '\n'))
		return err
	})
}
