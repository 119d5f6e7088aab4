package replication

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A copied state is a directory with the file metadata beside the folder contents, in which a Checkpointer puts its files
// and any other storage has the one file stream.
const (
	metadataFile   = "METADATA"
	contentsFolder = "contents"
	streamFile     = "stream"
)

// states copies the storage's whole state to directories and back.
type states struct {
	fs      durable.FS
	storage Storage
}

func (s states) copyTo(dir string, meta *Metadata) error {
	contents := filepath.Join(dir, contentsFolder)
	if err := durable.MakeDir(s.fs, dir); err != nil {
		return err
	}
	if c, ok := s.storage.(Checkpointer); ok {
		if err := c.Checkpoint(contents); err != nil {
			return fmt.Errorf("storage: checkpoint: %w", err)
		}
	} else {
		if err := durable.MakeDir(s.fs, contents); err != nil {
			return err
		}
		if err := s.writeView(contents); err != nil {
			return fmt.Errorf("storage: snapshot: %w", err)
		}
	}
	encoded, err := meta.MarshalBinary()
	if err != nil {
		return err
	}
	return durable.WriteFile(s.fs, filepath.Join(dir, metadataFile), func(w io.Writer) error {
		_, err := w.Write(encoded)
		return err
	})
}

func (s states) writeView(dir string) error {
	view, err := s.storage.Snapshot()
	if err != nil {
		return err
	}
	err = durable.WriteFile(s.fs, filepath.Join(dir, streamFile), func(w io.Writer) error {
		_, err := view.WriteTo(w)
		return err
	})
	return errors.Join(err, view.Close())
}

// metadataOf returns the metadata of the state in dir.
func (s states) metadataOf(dir string) (*Metadata, error) {
	encoded, err := durable.ReadFile(s.fs, filepath.Join(dir, metadataFile))
	if err != nil {
		return nil, err
	}
	m := new(Metadata)
	return m, m.UnmarshalBinary(encoded)
}

// replaceBy replaces the storage's state by the one in dir, with meta.
func (s states) replaceBy(dir string, meta *Metadata) error {
	contents := filepath.Join(dir, contentsFolder)
	if c, ok := s.storage.(Checkpointer); ok {
		return c.Install(contents, meta)
	}
	f, err := s.fs.Open(filepath.Join(contents, streamFile))
	if err != nil {
		return err
	}
	defer f.Close()
	return s.storage.Restore(bufio.NewReaderSize(f, 1<<20), meta)
}

// keeper keeps snapshots of a volatile storage beside the log: one directory each, named by applied index.
type keeper struct {
	states
	dir string
}

// newest returns the directory of the newest complete snapshot, "" if there is none.
func (k keeper) newest() (string, error) {
	names, err := k.fs.List(k.dir)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	var best uint64
	for _, n := range names {
		if i, err := strconv.ParseUint(n, 10, 64); err == nil && i > best {
			best = i
		}
	}
	if best == 0 {
		return "", nil
	}
	return filepath.Join(k.dir, strconv.FormatUint(best, 10)), nil
}

// keep saves the state as of meta, and drops older snapshots.
func (k keeper) keep(meta *Metadata) error {
	name := strconv.FormatUint(meta.AppliedIndex, 10)
	path := filepath.Join(k.dir, name)
	if _, err := k.fs.Stat(path); err == nil {
		return nil
	}
	temporary := path + ".tmp"
	if err := k.fs.RemoveAll(temporary); err != nil {
		return err
	}
	if err := k.copyTo(temporary, meta); err != nil {
		return err
	}
	if err := k.fs.Rename(temporary, path); err != nil {
		return err
	}
	if err := k.fs.SyncDir(k.dir); err != nil {
		return err
	}
	names, err := k.fs.List(k.dir)
	if err != nil {
		return err
	}
	for _, n := range slices.DeleteFunc(names, func(n string) bool { return n == name }) {
		if err := k.fs.RemoveAll(filepath.Join(k.dir, n)); err != nil {
			return err
		}
	}
	return nil
}

// Checkpoint implements raftgroup.Machine.
func (a *applier) Checkpoint(dir string) (uint64, uint64, *raftpb.ConfState, error) {
	meta, _, err := a.checkpoint(dir)
	if err != nil {
		return 0, 0, nil, err
	}
	conf, err := a.conf()
	return meta.AppliedIndex, meta.AppliedTerm, conf, err
}

// checkpoint copies the state to dir, and returns where it is.
func (a *applier) checkpoint(dir string) (*Metadata, timeline.Origin, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	meta, err := a.metadata()
	if err != nil {
		return nil, timeline.Origin{}, err
	}
	// What only moved the index is not in the storage yet; a copy must know its own place.
	if a.saved != a.index {
		if err := a.save(meta); err != nil {
			return nil, timeline.Origin{}, err
		}
	}
	s := a.machine.State()
	origin := timeline.Origin{Cursor: s.Cursor, Reigns: slices.Clone(s.Reigns)}
	return meta, origin, a.states.copyTo(dir, meta)
}

// Install implements raftgroup.Machine: the state of another node of this region takes the place of this one's.
func (a *applier) Install(dir string) (uint64, uint64, *raftpb.ConfState, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	meta, err := a.states.metadataOf(dir)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("received state: %w", err)
	}
	state, err := stateOf(meta)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("received state: %w", err)
	}
	if state.Region != a.region {
		return 0, 0, nil, fmt.Errorf("received state: %w: region %s, this is %s", ErrIdentity, state.Region, a.region)
	}
	if err := a.replace(dir, meta); err != nil {
		return 0, 0, nil, err
	}
	a.machine = timeline.NewMachine(state)
	a.rebase(meta.AppliedIndex, meta.Position)
	a.index, a.term, a.saved = meta.AppliedIndex, meta.AppliedTerm, meta.AppliedIndex
	a.changed()
	a.publish()
	a.overtaken()
	conf, err := a.conf()
	return a.index, a.term, conf, err
}

// replace puts a state in place, and keeps it if the storage cannot by itself.
func (a *applier) replace(dir string, meta *Metadata) error {
	if err := a.states.replaceBy(dir, meta); err != nil {
		return fmt.Errorf("storage: install: %w", err)
	}
	if err := a.storage.Sync(); errors.Is(err, ErrVolatile) {
		return a.keeper.keep(meta)
	} else if err != nil {
		return fmt.Errorf("storage: sync: %w", err)
	}
	return nil
}

// keepSnapshot makes a volatile storage's state durable.
func (a *applier) keepSnapshot() (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	meta, err := a.metadata()
	if err != nil {
		return 0, err
	}
	if a.saved != a.index {
		if err := a.save(meta); err != nil {
			return 0, err
		}
	}
	if err := a.keeper.keep(meta); err != nil {
		return 0, fmt.Errorf("keep snapshot: %w", err)
	}
	return meta.AppliedIndex, nil
}

// stateOf returns the region's state that m describes.
func stateOf(m *Metadata) (*timeline.State, error) {
	return timeline.DecodeRecord(m.Record, timeline.Cursor{Epoch: m.Epoch, Position: m.Position, Chain: m.Chain})
}
