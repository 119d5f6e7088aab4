package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/internal/wal"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TailInfo describes a rescue file of one node.
type TailInfo struct {
	Name string `json:"name"`
	rescue.Header
	rescue.Counts
	Damaged string `json:"damaged,omitempty"` // why it cannot be read
}

// Errors of ReadTail.
var (
	// ErrTailNotFound says that there is no rescue file of this name on this node.
	ErrTailNotFound = rescue.ErrNotFound
	// ErrTailDamaged says that a rescue file cannot be read whole.
	ErrTailDamaged = rescue.ErrDamaged
)

func (n *node) rescueDir() string { return n.config.path("rescue") }

// saveTail writes what is applied here after the fork, up to the entry that says so, to a rescue file (invariant 8). If the log does
// not reach back that far on this node, the whole state is kept beside it instead.
func (n *node) saveTail(d timeline.Divergence, upTo uint64) error {
	name := rescue.Name(n.config.RegionID, d)
	header := rescue.Header{
		Fleet: n.config.FleetID, Region: n.config.RegionID, Node: n.config.NodeID,
		Fork: d.Fork, Last: d.At, Claim: d.Claim, Saved: n.config.Clock.Now().UTC(),
	}
	counts, err := rescue.Write(n.config.FS, n.rescueDir(), name, header, tailOf(n.log, n.applier.machine.State().Reigns, d, upTo))
	if errors.Is(err, raft.ErrCompacted) {
		return n.saveState(name)
	}
	if err != nil {
		return err
	}
	n.logger.Warn("saved the tail that the fleet's history does not have", "tail", name, "dir", n.rescueDir(),
		"commands", counts.Commands, "bytes", counts.Bytes, "fork", d.Fork, "last", d.At)
	return nil
}

// saveState keeps a copy of the whole state under the tail's name.
func (n *node) saveState(name string) error {
	fs, a := n.config.FS, n.applier
	if err := durable.MakeDir(fs, n.rescueDir()); err != nil {
		return err
	}
	dir := filepath.Join(n.rescueDir(), name+".state")
	if err := fs.RemoveAll(dir); err != nil {
		return err
	}
	meta, err := a.metadata()
	if err != nil {
		return err
	}
	if err := a.states.copyTo(dir, meta); err != nil {
		return fmt.Errorf("save state before rejoining: %w", err)
	}
	n.logger.Warn("the log does not reach back to the fork on this node; saved the whole state instead of the tail", "dir", dir)
	return fs.SyncDir(n.rescueDir())
}

// tailOf returns the payloads of the history that reigns describe, after the fork, read from the log. What was refused when it was applied
// stands there too, and is no part of it.
func tailOf(log *wal.Log, reigns []timeline.Reign, d timeline.Divergence, upTo uint64) func() ([]byte, error) {
	var entries []*raftpb.Entry
	var index uint64
	var epoch Epoch // of the last beginning
	at := d.Fork
	return func() ([]byte, error) {
		for {
			if index == 0 {
				first, err := log.Seek(d.Fork)
				if err != nil {
					return nil, err
				}
				index = first
			}
			if len(entries) == 0 {
				if index >= upTo {
					return nil, tailEnd(at, d.At)
				}
				read, err := log.Entries(index, upTo, 1<<20)
				if err != nil {
					return nil, err
				}
				entries, index = read, read[len(read)-1].GetIndex()+1
			}
			p := entries[0].GetData()
			entries = entries[1:]
			h, ok := timeline.ReadHeader(p)
			if !ok || h.First != at+1 || !timeline.Within(reigns, d.At, h) {
				continue
			}
			if h.Kind == timeline.KindReign {
				r, err := timeline.DecodeReign(p)
				if err != nil || r.Epoch <= epoch || !slices.Contains(reigns, r) {
					continue // again, or in vain
				}
				epoch = r.Epoch
			}
			at = h.Last()
			return p, nil
		}
	}
}

func tailEnd(at, want Position) error {
	if at != want {
		return fmt.Errorf("%w: tail ends at %d in the log, at %d in the state", wal.ErrCorrupt, at, want)
	}
	return io.EOF
}

// localTails describes the rescue files of this node.
func (n *node) localTails() ([]TailInfo, error) {
	names, err := rescue.List(n.config.FS, n.rescueDir())
	if err != nil {
		return nil, err
	}
	tails := make([]TailInfo, 0, len(names))
	for _, name := range names {
		t := TailInfo{Name: name}
		if t.Counts, t.Header, err = rescue.Scan(n.config.FS, n.rescueDir(), name, nil); err != nil {
			t.Damaged = err.Error()
		}
		tails = append(tails, t)
	}
	return tails, nil
}

// Tails returns the rescue files on this node, by name.
func (n *node) Tails(context.Context) ([]TailInfo, error) { return n.localTails() }

// ReadTail calls visit with each command of a rescue file on this node, in order. Errors: ErrTailNotFound, ErrTailDamaged, and what visit
// returns.
func (n *node) ReadTail(ctx context.Context, name string, visit func(epoch Epoch, p Position, c Command) error) error {
	var f timeline.Frame
	_, _, err := rescue.Scan(n.config.FS, n.rescueDir(), name, func(payload []byte) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if h, _ := timeline.ReadHeader(payload); h.Kind != timeline.KindFrame {
			return nil
		}
		if err := timeline.DecodeFrame(payload, &f); err != nil {
			return fmt.Errorf("%w: %w", rescue.ErrDamaged, err)
		}
		for i, c := range f.Commands {
			if err := visit(f.Epoch, f.First+Position(i), Command{Data: slices.Clone(c.Data)}); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
