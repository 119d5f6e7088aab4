package sim

import (
	"context"
	"encoding/gob"
	"fmt"
	"path/filepath"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/mimir-kv/mimir/kv"
)

// readState reads the whole state that a node saved beside a tail, and returns the place to which it leads, if it holds
// what led there.
func (p *process) readState(ctx context.Context, name string) (*place, error) {
	dir, state, err := p.TailState(ctx, name)
	if err != nil {
		return nil, err
	}
	end := p.member.fleet.lineage.find(state.Chain)
	if end == nil || end.position != state.Position {
		return nil, fmt.Errorf("says position %d, chain %v, where nobody ever was", state.Position, state.Chain)
	}
	if _, ok := p.storage.(*kv.Store); ok {
		return end, p.readChanges(dir)
	}
	f, err := p.disk.Open(filepath.Join(dir, "stream"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var held ledgerState
	if err := gob.NewDecoder(f).Decode(&held); err != nil {
		return nil, err
	}
	var want []string
	for _, q := range end.path() {
		if q.reign != nil {
			want = append(want, beginning(*q.reign))
		} else {
			want = append(want, q.data)
		}
	}
	if !slices.Equal(held.Items, want) {
		return nil, fmt.Errorf("holds %d commands and beginnings, and not the %d that led there", len(held.Items),
			len(want))
	}
	return end, nil
}

// readChanges reads a checkpoint of the real store to its end.
func (p *process) readChanges(dir string) error {
	c, err := kv.OpenChanges(p.disk, dir, nil)
	if err != nil {
		return err
	}
	if err := c.Each(0, func(*mvccpb.Event) error { return nil }); err != nil {
		return err
	}
	return c.Close()
}
