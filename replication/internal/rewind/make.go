package rewind

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/copies"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const (
	// maxTries is how often a process may end while it goes on from a mark, before that is left alone (W5).
	maxTries = 3
	// triesFile of a mark has a byte for each try that has not come to its end.
	triesFile = "TRIES"
)

// tries returns how often going on from a mark did not come to its end: too often, if that cannot be read now.
func (r *Rewinds) tries(m mark) int {
	p, err := durable.ReadFile(r.config.FS, filepath.Join(r.dirOf(m), triesFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return maxTries
	}
	return len(p)
}

func (r *Rewinds) setTries(m mark, n int) error {
	return durable.WriteFile(r.config.FS, filepath.Join(r.dirOf(m), triesFile), func(w io.Writer) error {
		_, err := w.Write(make([]byte, n))
		return err
	})
}

// complete makes the state of a plan in dir from a mark.
func (r *Rewinds) complete(ctx context.Context, p *plan, m mark, dir string) (meta *contract.Metadata, err error) {
	c := &r.config
	if err := c.FS.RemoveAll(dir); err != nil { // a part, as there is no whole one
		return nil, err
	}
	from, err := copies.ReadMetadata(c.FS, r.dirOf(m))
	if err != nil {
		return nil, err
	}
	tries := r.tries(m)
	if err := r.setTries(m, tries+1); err != nil {
		return nil, err
	}
	b, err := c.Brancher.Branch(copies.Contents(r.dirOf(m)))
	if err == nil {
		meta, err = r.fill(ctx, p, from, b, dir)
		err = errors.Join(err, b.Close())
	}
	return meta, errors.Join(err, r.setTries(m, tries))
}

// fill replays what is missing, and makes the branch the copy in dir.
func (r *Rewinds) fill(
	ctx context.Context, p *plan, from *contract.Metadata, b contract.Branch, dir string,
) (*contract.Metadata, error) {
	way := &replay{plan: p, branch: b, from: from, folder: timeline.NewFolder()}
	meta, err := way.run(ctx, r.config.Log)
	if err != nil {
		return nil, err
	}
	if err := durable.MakeDir(r.config.FS, dir); err != nil {
		return nil, err
	}
	if err := b.Checkpoint(copies.Contents(dir)); err != nil {
		return nil, err
	}
	return meta, copies.Complete(r.config.FS, dir, meta)
}
