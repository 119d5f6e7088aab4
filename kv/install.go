package kv

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/kv/snapshot"
	"github.com/mimir-kv/mimir/replication"
)

// Checkpoint makes the new directory dir hold a durable copy of the store as of the last Apply or Begin, by hard
// links. It takes as long as a flush of what was applied since the last Sync.
func (s *Store) Checkpoint(dir string) error {
	return s.current.do(func(g *generation) error { return checkpoint(g, dir) })
}

func checkpoint(g *generation, dir string) error {
	if err := g.flush(); err != nil {
		return fmt.Errorf("kv: checkpoint: %w", err)
	}
	r := g.room
	r.copyFails(dir, nil)
	err := g.db.Checkpoint(dir)
	made := err == nil
	err = cmp.Or(err, r.copied(dir))
	if err == nil && r.unnoted() { // what it links may be of a note that is not in its MANIFEST
		err = ErrClosed
	}
	if err != nil && made { // else Pebble has removed it
		err = errors.Join(err, r.fs.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("kv: checkpoint %s: %w", dir, err)
	}
	return nil
}

// Install replaces the content by the checkpoint in dir, which it leaves as it is, and returns once that is durable.
// Reads under way end on the former content. Watchers go on where they are, or end with a *watch.CompactedError if
// the new content does not have what they saw or still need. If meta is not nil it takes the place of the metadata in
// the checkpoint. On an error the former content stays; if nobody knows which one counts at the next start,
// Options.OnFailure is told as well.
func (s *Store) Install(dir string, meta *replication.Metadata) error {
	g, name, err := s.stage(dir, meta)
	if err != nil {
		return fmt.Errorf("kv: install %s: %w", dir, asDamage(err))
	}
	if err := s.marker.Move(name); err != nil {
		return errors.Join(fmt.Errorf("kv: install %s: %w", dir, err), setAside(s, g, err))
	}
	old := s.current.Load()
	now := g.now.Load()
	if now.holds() {
		s.leases.Hold(true)
	}
	s.watchers.Replace(now.State, func() {
		s.leases.Replace(g.leases, func() { s.current.Store(g) })
	})
	s.leases.Hold(now.holds())
	s.compactor.wakeUp()
	s.counter.wakeUp()
	// Streams may hold the former content for long; it goes when they are done.
	s.retired.Go(func() {
		if err := s.leftovers.discard(old); err != nil {
			s.options.Logger.Warn("former content was not closed in order", "dir", old.path, "err", err)
		}
	})
	return nil
}

// setAside lets go of a generation to which the marker did not move, and keeps its files if it may have.
func setAside(s *Store, g *generation, err error) error {
	if !errors.Is(err, errTorn) {
		return s.leftovers.discard(g)
	}
	if tell := s.options.OnFailure; tell != nil {
		go tell(fmt.Errorf("kv: the store cannot go on: %w", err))
	}
	return g.close()
}

// stage links the checkpoint in dir to where generations are, makes it durable, with meta in it, and opens it.
func (s *Store) stage(dir string, meta *replication.Metadata) (*generation, string, error) {
	fs := s.options.FS
	name := generationName(s.marker.NextIter())
	path := fs.PathJoin(s.options.Dir, name)
	if err := s.leftovers.remove(path); err != nil {
		return nil, "", err
	}
	fresh, err := linkCheckpoint(&s.options, dir, path)
	if errors.Is(err, iofs.ErrNotExist) || errors.Is(err, errNoDirectory) { // nobody else removes what is installed
		err = fmt.Errorf("%w: %w", mvcc.ErrCorrupt, err)
	}
	if err != nil {
		s.leftovers.drop(path)
		return nil, "", err
	}
	if err := snapshot.SyncAll(fs, append(fresh, s.options.Dir)); err != nil {
		s.leftovers.drop(path)
		return nil, "", err
	}
	g, err := openGeneration(&s.options, s.cache, path)
	if err != nil {
		s.leftovers.drop(path)
		return nil, "", err
	}
	if err := g.exchange(meta); err != nil {
		return nil, "", errors.Join(err, s.leftovers.discard(g))
	}
	return g, name, nil
}

// exchange puts meta in the place of the metadata, durably. Nil changes nothing.
func (g *generation) exchange(meta *replication.Metadata) error {
	if meta == nil {
		return nil
	}
	batch := g.db.NewBatch()
	err := mvcc.NewWriter(batch).Metadata(meta)
	if err == nil {
		err = batch.Commit(pebble.NoSync)
	}
	if err = cmp.Or(err, batch.Close()); err != nil {
		return err
	}
	return g.flush()
}

// temporary returns the name of a directory that does not exist and is removed at the next Open.
func (s *Store) temporary() string {
	return s.options.FS.PathJoin(s.options.Dir, fmt.Sprintf("%s%06d", temporaryPrefix, s.temporaries.Add(1)))
}

// Snapshot implements replication.Storage: a checkpoint, written out as an archive that verifies itself (README.md has
// the format). Close removes it.
func (s *Store) Snapshot() (replication.Snapshot, error) {
	whole, err := s.copy()
	if err != nil {
		return nil, err
	}
	return whole, nil
}

func (s *Store) copy() (*snapshot.Copy, error) {
	dir := s.temporary()
	var of *generation
	err := s.current.do(func(g *generation) error {
		of = g
		return checkpoint(g, dir)
	})
	if err != nil {
		s.leftovers.drop(dir)
		return nil, err
	}
	return snapshot.NewCopy(s.options.FS, dir, func(err error) { rots(s, of, err) }, s.leftovers.drop), nil
}

// rots tells the owner that a file of a generation is not what was written, as if it had been read: what a copy has
// are links to it. Of a generation that counts no more it does not matter.
func rots(s *Store, of *generation, err error) {
	if s.current.Load() != of {
		return
	}
	err = fmt.Errorf("kv: copy: %w", asDamage(err))
	s.options.Logger.Error("a file of the store is damaged", "err", err)
	if s.options.OnFailure != nil {
		go s.options.OnFailure(err)
	}
}

// SnapshotTo writes a consistent copy of the content to w: the files of a checkpoint in an archive. Its length is 32
// above a multiple of 512, the SHA-256 of all before last, which is how etcd's tools know a whole snapshot. It may run
// beside everything else. The note, of at most 64 KiB, stands before the content: whose it is. Nil is none. A file of
// the store that is not what was written is replication.ErrDamaged, and Options.OnFailure is told.
func (s *Store) SnapshotTo(w io.Writer, note []byte) error {
	whole, err := CopyOf(s, note)
	if err != nil {
		return err
	}
	_, err = whole.WriteTo(w)
	return errors.Join(asDamage(err), whole.Close())
}

// CopyOf returns a consistent copy of the content that begins with a note, as SnapshotTo has it. It can be written more
// than once, each time the same, until it is closed, which removes it.
func CopyOf(s *Store, note []byte) (*snapshot.Copy, error) {
	whole, err := s.copy()
	if err != nil {
		return nil, err
	}
	whole.Note(note)
	return whole, nil
}

// Restore replaces the content by what Snapshot wrote, like Install.
func (s *Store) Restore(r io.Reader, meta *replication.Metadata) error {
	dir := s.temporary()
	defer s.leftovers.drop(dir)
	if err := snapshot.Read(r, s.options.FS, dir); err != nil {
		return fmt.Errorf("kv: restore: %w", err)
	}
	if err := snapshot.Sync(s.options.FS, dir); err != nil {
		return fmt.Errorf("kv: restore: %w", err)
	}
	return s.Install(dir, meta)
}
