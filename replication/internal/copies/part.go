package copies

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

// Part is a copy in the making. Whoever began it calls Write, or else Close; either may run while further commands are
// applied.
type Part struct {
	maker   *Maker
	dir     string
	meta    *contract.Metadata
	view    contract.Snapshot // nil: the files are there already
	revoked atomic.Bool       // the storage is about to be given another content, or the node ends
	written atomic.Int64      // bytes of what is long to write

	once   sync.Once
	closed chan struct{} // the view is closed
	err    error         // of closing it
}

// Metadata describes the content that the copy has.
func (p *Part) Metadata() *contract.Metadata { return p.meta }

// Written returns how many bytes Write has written of what is long to write: it gets on as long as that grows.
func (p *Part) Written() int64 { return p.written.Load() }

// Write makes the copy complete and durable (C1, C2), and lets go of the view, also if that panics: who replaces the
// content waits for it. It is called at most once. Errors: ErrReplaced when another state is about to take the place of
// this one, or its node ends; what is in the directory is then of no use, as after any other error.
func (p *Part) Write() error {
	defer p.Close()
	if err := errors.Join(p.writeContents(), p.Close()); err != nil {
		return err
	}
	return Complete(p.maker.fs, p.dir, p.meta)
}

// Complete makes the directory dir, whose contents are durable, the copy that meta describes (C2).
func Complete(fs durable.FS, dir string, meta *contract.Metadata) error {
	encoded, err := meta.MarshalBinary()
	if err != nil {
		return err
	}
	return writeWhole(fs, filepath.Join(dir, metadataFile), encoded)
}

func writeWhole(fs durable.FS, name string, content []byte) error {
	return durable.WriteFile(fs, name, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

func (p *Part) writeContents() error {
	if p.view == nil {
		return nil
	}
	fs, contents := p.maker.fs, Contents(p.dir)
	if err := durable.MakeDir(fs, contents); err != nil {
		return err
	}
	var sum *summed
	err := durable.WriteFile(fs, filepath.Join(contents, StreamFile), func(w io.Writer) error {
		if p.revoked.Load() {
			return ErrReplaced
		}
		sum = newSummed(w)
		_, err := p.view.WriteTo(&revocable{Writer: sum, part: p})
		return err
	})
	if err == nil {
		err = writeWhole(fs, filepath.Join(p.dir, sumFile), sum.encode())
	}
	if err != nil && p.revoked.Load() {
		return fmt.Errorf("%w: %w", ErrReplaced, err)
	}
	if err != nil {
		return fmt.Errorf("storage: snapshot: %w", err)
	}
	return nil
}

// Revoke ends a Write, also one that comes later: its error is ErrReplaced.
func (p *Part) Revoke() { p.revoked.Store(true) }

// Close lets go of the view. It may be called again.
func (p *Part) Close() error {
	p.once.Do(func() {
		defer p.gone()
		if p.view != nil {
			p.err = p.view.Close()
		}
	})
	return p.err
}

// gone says that the view is closed, or that nobody can close it.
func (p *Part) gone() {
	m := p.maker
	m.mu.Lock()
	delete(m.open, p)
	m.mu.Unlock()
	close(p.closed)
}

// revocable is where a view is written to: it ends the writing when the view has to be closed.
type revocable struct {
	io.Writer
	part *Part
}

func (r *revocable) Write(b []byte) (int, error) {
	if r.part.revoked.Load() {
		return 0, ErrReplaced
	}
	n, err := r.Writer.Write(b)
	r.part.written.Add(int64(n))
	return n, err
}
