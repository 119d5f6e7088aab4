package raftgroup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
)

// record is one entry as a machine saw it.
type record struct {
	Index, Term uint64
	Data        string
}

// history is what all machines of a group agree on: the first to apply an index says what is there.
type history struct {
	mu      sync.Mutex
	entries map[uint64]record
	broken  error
}

func newHistory() *history { return &history{entries: make(map[uint64]record)} }

func (h *history) add(r record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.entries[r.Index]; ok && known != r {
		h.broken = fmt.Errorf("entry %d is %v on one member and %v on another", r.Index, known, r)
		return h.broken
	}
	h.entries[r.Index] = r
	return nil
}

// where returns the indexes at which data was applied.
func (h *history) where(data string) []uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []uint64
	for index, r := range h.entries {
		if r.Data == data {
			found = append(found, index)
		}
	}
	return found
}

// machine is a Machine that keeps everything in memory, and on disk what Sync wrote.
type machine struct {
	fs      durable.FS
	dir     string
	history *history

	mu    sync.Mutex
	state machineState
	fail  error  // returned by Apply
	dwell func() // called before a checkpoint is written, if not nil
}

type machineState struct {
	Index, Term uint64
	Conf        *raftpb.ConfState
	Records     []record
}

func openMachine(fs durable.FS, dir string, first *raftpb.ConfState, h *history) (*machine, error) {
	m := &machine{fs: fs, dir: dir, history: h}
	m.state.Conf = first
	if err := durable.MakeDir(fs, dir); err != nil {
		return nil, err
	}
	state, err := readState(fs, filepath.Join(dir, "state"))
	if errors.Is(err, os.ErrNotExist) {
		return m, nil
	}
	m.state = state
	return m, err
}

func (m *machine) Apply(entries []*raftpb.Entry) error {
	for _, e := range entries {
		if e.GetType() != raftpb.EntryNormal {
			return fmt.Errorf("entry %d is of type %s", e.GetIndex(), e.GetType())
		}
		if err := m.apply(e); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fail
}

func (m *machine) apply(e *raftpb.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if want := max(m.state.Index, genesisIndex) + 1; e.GetIndex() != want {
		return fmt.Errorf("entry %d applied, want %d", e.GetIndex(), want)
	}
	r := record{Index: e.GetIndex(), Term: e.GetTerm(), Data: string(e.GetData())}
	m.state.Index, m.state.Term = r.Index, r.Term
	m.state.Records = append(m.state.Records, r)
	return m.history.add(r)
}

func (m *machine) ApplyConf(e *raftpb.Entry, cc *raftpb.ConfChangeV2, conf *raftpb.ConfState) error {
	if err := m.apply(e); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Conf = conf
	return nil
}

func (m *machine) Applied() (uint64, uint64, *raftpb.ConfState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Index, m.state.Term, m.state.Conf
}

func (m *machine) Sync() (uint64, error) {
	m.mu.Lock()
	state := m.state
	state.Records = state.Records[:len(state.Records):len(state.Records)]
	m.mu.Unlock()
	return state.Index, writeState(m.fs, m.dir, state)
}

func (m *machine) Checkpoint(dir string) (*Checkpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.state
	state.Records = state.Records[:len(state.Records):len(state.Records)]
	d := &draft{fs: m.fs, dir: dir, state: state, dwell: m.dwell}
	return &Checkpoint{Index: state.Index, Term: state.Term, Conf: state.Conf, Draft: d}, nil
}

// draft is a state on its way into a directory.
type draft struct {
	fs    durable.FS
	dir   string
	state machineState
	dwell func()
}

func (d *draft) Write() error {
	if d.dwell != nil {
		d.dwell()
	}
	if err := d.fs.MkdirAll(d.dir); err != nil {
		return err
	}
	return writeState(d.fs, d.dir, d.state)
}

func (d *draft) Close() error { return nil }

func (m *machine) Install(dir string) (uint64, uint64, *raftpb.ConfState, error) {
	state, err := readState(m.fs, filepath.Join(dir, "state"))
	if err == nil {
		err = writeState(m.fs, m.dir, state)
	}
	if err != nil {
		return 0, 0, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = state
	for _, r := range state.Records {
		if err := m.history.add(r); err != nil {
			return 0, 0, nil, err
		}
	}
	return state.Index, state.Term, state.Conf, nil
}

func (m *machine) Inspect(dir string) (uint64, uint64, *raftpb.ConfState, error) {
	state, err := readState(m.fs, filepath.Join(dir, "state"))
	return state.Index, state.Term, state.Conf, err
}

func (m *machine) records() []record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]record(nil), m.state.Records...)
}

func readState(fs durable.FS, path string) (machineState, error) {
	var s machineState
	p, err := durable.ReadFile(fs, path)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(p, &s)
}

func writeState(fs durable.FS, dir string, s machineState) error {
	return durable.WriteFile(fs, filepath.Join(dir, "state"), func(w io.Writer) error {
		return json.NewEncoder(w).Encode(s)
	})
}
