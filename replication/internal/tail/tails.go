package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/rescue"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Ask asks a node for what it has saved.
const Ask = peer.Question[peer.Nothing, []Info]("tails")

// Info describes what one node saved of a tail: the commands of a rescue file, those after Begins up to Last. If that
// is not all of the tail, State is the whole state that the region had at its end.
type Info struct {
	Name string `json:"name"`
	rescue.Header
	rescue.Counts
	State   *State `json:"state,omitempty"`
	Damaged string `json:"damaged,omitempty"` // why it cannot be read
}

// State describes a copy of a whole state: the history up to Position, in which commands are no longer told apart.
type State struct {
	Position timeline.Position `json:"position"`
	Epoch    timeline.Epoch    `json:"epoch"`
	Chain    timeline.Chain    `json:"chain"`
	Bytes    uint64            `json:"stateBytes"`
}

const (
	stateSuffix = ".state"
	partSuffix  = ".tmp"
)

// Config is what Tails is made of. Every field is required.
type Config struct {
	Fleet, Region, Node string
	FS                  durable.FS
	Dir                 string // of the rescue files; nothing else is there
	Clock               clock.Clock
	Logger              *slog.Logger
}

// Tails is what one node has saved. It is safe for concurrent use.
type Tails struct{ config Config }

// New returns what is in the directory.
func New(c Config) *Tails { return &Tails{c} }

// Clean removes what an earlier process began to save, and did not finish: what is to be saved is begun anew, or is not
// this node's to save any more. It is called before anything is applied. What cannot be removed is told.
func (t *Tails) Clean() {
	fs, dir := t.config.FS, t.config.Dir
	files, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	for _, f := range files {
		if strings.HasSuffix(f, stateSuffix+partSuffix) || rescue.IsPart(f) {
			err = errors.Join(err, fs.RemoveAll(filepath.Join(dir, f)))
		}
	}
	if err != nil {
		t.config.Logger.Warn("what was begun to be saved of a tail, and not finished, is not removed", "dir", dir,
			"err", err)
	}
}

// Register registers the answers to what other nodes ask.
func (t *Tails) Register(r *peer.Registry) {
	peer.Handle(r, Ask, peer.RegionNode, func(context.Context, peer.Nothing) ([]Info, error) { return t.List() })
}

// List describes what this node has saved, by name.
func (t *Tails) List() ([]Info, error) {
	names, err := rescue.List(t.config.FS, t.config.Dir)
	if err != nil {
		return nil, err
	}
	tails := make([]Info, 0, len(names))
	for _, name := range names {
		i := Info{Name: name}
		if i.Counts, i.Header, err = rescue.Scan(t.config.FS, t.config.Dir, name, nil); err != nil {
			i.Damaged = err.Error()
		}
		t.addState(&i)
		tails = append(tails, i)
	}
	states, err := t.statesAlone(names)
	if err != nil {
		return nil, err
	}
	tails = append(tails, states...)
	slices.SortFunc(tails, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return tails, nil
}

// addState adds the state beside a rescue file.
func (t *Tails) addState(i *Info) {
	meta, err := copies.ReadMetadata(t.config.FS, t.stateDir(i.Name))
	switch {
	case err == nil:
		i.State = &State{
			Position: meta.Position, Epoch: meta.Epoch, Chain: meta.Chain, Bytes: t.size(t.stateDir(i.Name)),
		}
	case i.Damaged == "" && i.Begins() > i.Fork:
		i.Damaged = fmt.Sprintf("the state that has the commands up to %d is missing: %v", i.Begins(), err)
	}
}

// statesAlone describes the states without a rescue file: older versions wrote none beside them.
func (t *Tails) statesAlone(besides []string) (list []Info, err error) {
	files, err := t.config.FS.List(t.config.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list tails: %w", err)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f, stateSuffix)
		if !ok || slices.Contains(besides, name) {
			continue
		}
		i := Info{Name: name}
		i.Fleet, i.Region, i.Node = t.config.Fleet, t.config.Region, t.config.Node
		t.addState(&i)
		if i.State == nil {
			i.Damaged = "the copy of the state is not complete"
		}
		rest, _ := strings.CutPrefix(name, t.config.Region+"-")
		_, err := fmt.Sscanf(rest, "e%d-%d-%d", &i.Claim.Epoch, &i.Fork, &i.Last)
		if err != nil && i.State != nil {
			i.Last = i.State.Position
		}
		i.After = i.Last
		list = append(list, i)
	}
	return list, nil
}

func (t *Tails) stateDir(name string) string { return filepath.Join(t.config.Dir, name+stateSuffix) }

// size returns how many bytes the files in dir have.
func (t *Tails) size(dir string) (bytes uint64) {
	names, _ := t.config.FS.List(dir)
	for _, n := range names {
		path := filepath.Join(dir, n)
		if f, err := t.config.FS.Stat(path); err == nil && f.IsDir() {
			bytes += t.size(path)
		} else if err == nil {
			bytes += uint64(f.Size())
		}
	}
	return bytes
}

// StateDir returns the directory of a whole state that was saved, and what it is. In it are the files that the storage
// made of itself, or in the file "stream" what it wrote. Errors: rescue.ErrNotFound.
func (t *Tails) StateDir(name string) (dir string, state *State, err error) {
	i := Info{Name: name}
	if strings.ContainsAny(name, "/\\") {
		return "", nil, fmt.Errorf("%w: %q", rescue.ErrNotFound, name)
	}
	if t.addState(&i); i.State == nil {
		return "", nil, fmt.Errorf("%w: %s has no whole state", rescue.ErrNotFound, name)
	}
	return copies.Contents(t.stateDir(name)), i.State, nil
}

// Read calls visit with each command of a rescue file, in order. Errors: rescue.ErrNotFound, rescue.ErrDamaged, that
// ctx ended, and what visit returns.
func (t *Tails) Read(
	ctx context.Context, name string, visit func(timeline.Epoch, timeline.Position, contract.Command) error,
) error {
	var f timeline.Frame
	_, _, err := rescue.Scan(t.config.FS, t.config.Dir, name, func(payload []byte) error {
		if ctx.Err() != nil {
			return contract.Ended(ctx)
		}
		if h, _ := timeline.ReadHeader(payload); h.Kind != timeline.KindFrame {
			return nil
		}
		if err := timeline.DecodeFrame(payload, &f); err != nil {
			return fmt.Errorf("%w: %w", rescue.ErrDamaged, err)
		}
		for i, c := range f.Commands {
			if err := visit(
				f.Epoch, f.First+timeline.Position(i), contract.Command{Data: slices.Clone(c.Data)},
			); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
