package kv

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// Checkpoint makes the new directory dir hold a durable copy of the store as of the last Apply or Begin, by hard
// links. It takes as long as a flush of what was applied since the last Sync.
func (s *Store) Checkpoint(dir string) error {
	g, err := s.acquire()
	if err != nil {
		return err
	}
	defer g.release()
	return checkpoint(g, dir)
}

func checkpoint(g *generation, dir string) error {
	if err := g.db.Flush(); err != nil {
		return fmt.Errorf("kv: checkpoint: %w", err)
	}
	if err := g.db.Checkpoint(dir); err != nil {
		return fmt.Errorf("kv: checkpoint %s: %w", dir, err)
	}
	return nil
}

// Install replaces the content by the checkpoint in dir, which it leaves as it is, and returns once that is durable. Reads
// under way end on the former content. Watchers go on where they are, or end with ErrRewound or a
// *CompactedError if the new content does not have what they saw or still need. If meta is not nil it takes the place of the metadata in
// the checkpoint. On an error the former content stays.
func (s *Store) Install(dir string, meta *replication.Metadata) error {
	g, name, err := s.stage(dir, meta)
	if err != nil {
		return fmt.Errorf("kv: install %s: %w", dir, err)
	}
	if err := s.marker.Move(name); err != nil {
		return errors.Join(fmt.Errorf("kv: install %s: %w", dir, err), s.discard(g))
	}
	s.mu.Lock()
	old := s.current.Swap(g)
	s.leases = g.leases
	if s.observer != nil {
		s.observer.replaced(s.leases)
	}
	s.watchers.replaced(old.state.Load(), g.state.Load())
	s.wakeWaiters()
	s.mu.Unlock()
	s.compactor.wakeUp()
	// Streams may hold the former content for long; it goes when they are done.
	s.retired.Go(func() {
		if err := s.discard(old); err != nil {
			s.options.Logger.Warn("former content cannot be removed", "dir", old.path, "error", err)
		}
	})
	return nil
}

// stage links the checkpoint in dir to where generations are, makes it durable, with meta in it, and opens it.
func (s *Store) stage(dir string, meta *replication.Metadata) (*generation, string, error) {
	fs := s.options.FS
	if info, err := fs.Stat(dir); err != nil || !info.IsDir() {
		return nil, "", errors.Join(err, errors.New("not a directory"))
	}
	if desc, err := pebble.Peek(dir, fs); err != nil || !desc.Exists {
		return nil, "", errors.Join(err, fmt.Errorf("%w: not a checkpoint", ErrCorrupt))
	}
	name := generationName(s.marker.NextIter())
	path := fs.PathJoin(s.options.Dir, name)
	if err := fs.RemoveAll(path); err != nil {
		return nil, "", err
	}
	if err := linkTree(fs, dir, path); err != nil {
		return nil, "", errors.Join(err, fs.RemoveAll(path))
	}
	if err := errors.Join(syncTree(fs, path), pebblefs.New(fs).SyncDir(s.options.Dir)); err != nil {
		return nil, "", err
	}
	g, err := openGeneration(&s.options, s.cache, path)
	if err != nil {
		return nil, "", errors.Join(err, fs.RemoveAll(path))
	}
	if err := g.exchange(meta); err != nil {
		return nil, "", errors.Join(err, s.discard(g))
	}
	return g, name, nil
}

// linkTree makes the new directory to hold what from holds: tables, which never change, as links and the rest as copies.
func linkTree(fs vfs.FS, from, to string) error {
	names, err := fs.List(from)
	if err != nil {
		return err
	}
	if err := fs.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		source, target := fs.PathJoin(from, name), fs.PathJoin(to, name)
		info, err := fs.Stat(source)
		switch {
		case err != nil:
		case info.IsDir():
			err = linkTree(fs, source, target)
		case strings.HasSuffix(name, ".sst"):
			err = vfs.LinkOrCopy(fs, source, target)
		default:
			err = vfs.Copy(fs, source, target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// exchange puts meta in the place of the metadata, durably. Nil changes nothing.
func (g *generation) exchange(meta *replication.Metadata) error {
	if meta == nil {
		return nil
	}
	encoded, err := meta.MarshalBinary()
	if err != nil {
		return err
	}
	if err := g.db.Set(keyMetadata, encoded, pebble.NoSync); err != nil {
		return err
	}
	g.metadata = meta
	return g.db.Flush()
}

// discard closes a generation and removes its files.
func (s *Store) discard(g *generation) error {
	return errors.Join(g.close(), s.options.FS.RemoveAll(g.path))
}

// temporary returns the name of a directory that does not exist and is removed at the next Open.
func (s *Store) temporary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temp++
	return s.options.FS.PathJoin(s.options.Dir, fmt.Sprintf("%s%06d", temporaryPrefix, s.temp))
}

// Snapshot implements replication.Storage: a checkpoint, written out as an archive that verifies itself (README.md has the format).
// Close removes it.
func (s *Store) Snapshot() (replication.Snapshot, error) {
	dir := s.temporary()
	g, err := s.acquire()
	if err != nil {
		return nil, err
	}
	err = checkpoint(g, dir)
	g.release()
	if err != nil {
		return nil, errors.Join(err, s.options.FS.RemoveAll(dir))
	}
	return &archive{fs: s.options.FS, dir: dir}, nil
}

// archive is a checkpoint that is written out as one stream.
type archive struct {
	fs  vfs.FS
	dir string
}

func (a *archive) WriteTo(w io.Writer) (int64, error) {
	counted := countingWriter{to: w}
	err := writeArchive(&counted, a.fs, a.dir)
	return counted.bytes, err
}

func (a *archive) Close() error { return a.fs.RemoveAll(a.dir) }

type countingWriter struct {
	to    io.Writer
	bytes int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}

// SnapshotTo writes a consistent copy of the content to w: the files of a checkpoint in an archive. Its length is 32 above a multiple of
// 512, the SHA-256 of all before last, which is how etcd's tools know a whole snapshot. It may run beside everything else.
func (s *Store) SnapshotTo(w io.Writer) error {
	view, err := s.Snapshot()
	if err != nil {
		return err
	}
	_, err = view.WriteTo(w)
	return errors.Join(err, view.Close())
}

// Restore replaces the content by what Snapshot wrote, like Install.
func (s *Store) Restore(r io.Reader, meta *replication.Metadata) error {
	dir := s.temporary()
	if err := readArchive(r, s.options.FS, dir); err != nil {
		return errors.Join(fmt.Errorf("kv: restore: %w", err), s.options.FS.RemoveAll(dir))
	}
	return s.Install(dir, meta)
}
