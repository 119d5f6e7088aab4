package checkpoint

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Verify reads every file of the complete checkpoint in dir, and returns why it is not what came, nil if it is:
// ErrCorrupt, also where look finds something; ErrIncomplete if there is none. It changes nothing, and ends soon after
// ctx. progress may be nil; it is called from this goroutine.
func Verify(ctx context.Context, fs durable.FS, dir string, look Look, progress func(Progress)) error {
	m, err := Load(fs, dir)
	if err != nil {
		return err
	}
	p := Progress{Stage: Checking, TotalBytes: m.Bytes()}
	buf := make([]byte, readBytes)
	step := func(bytes int64) error {
		if p.DoneBytes += bytes; progress != nil {
			progress(p)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	for i := range m.Files {
		f := &m.Files[i]
		_, got, err := sum(fs, path(dir, f.Name), buf, step)
		if err == nil && got != f.Sum {
			err = fmt.Errorf("%w: it has sum %x, want %x", ErrCorrupt, got[:8], f.Sum[:8])
		}
		if err == nil {
			err = look.file(dir, f.Name)
		}
		if err != nil {
			return fmt.Errorf("checkpoint: look through %s: %s: %w", dir, f.Name, err)
		}
	}
	if err := look.whole(dir); err != nil {
		return fmt.Errorf("checkpoint: look through %s: %w", dir, err)
	}
	return nil
}
