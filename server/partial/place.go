package partial

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"sync"

	"github.com/mimir-kv/mimir/etcdapi"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
)

// Names in the directory of a node of a partial region.
const (
	placeFile = "partial.json" // whose it is; it is there first
	storeDir  = "part"         // what it holds
	copyDir   = "copy"         // a copy that comes
	copiedDir = "copied"       // one that came, until it is in its place
)

// IsPlace reports whether a directory is one of a node of a partial region.
func IsPlace(fs durable.FS, dir string) bool {
	_, err := fs.Stat(filepath.Join(dir, placeFile))
	return err == nil
}

// PlaceOptions are whose a directory is to be, and how it is kept. FS nil is the machine's filesystem; of Store, the
// directory is set.
type PlaceOptions struct {
	Dir           string
	FS            durable.FS
	Fleet, Region string
	Prefixes      Prefixes
	Store         kv.Options
}

// identity is the file by which a directory is known.
type identity struct {
	Version  int      `json:"version"`
	Fleet    string   `json:"fleet"`
	Region   string   `json:"region"`
	Prefixes Prefixes `json:"prefixes"`
	// Stopped is the revision with which the last process stopped in good order; 0 if it did not, or one runs.
	Stopped int64 `json:"stopped,omitempty"`
	// Auth says that who reads has to show who he is, as far as is known. AuthRevision and AuthAt say how new that is:
	// see etcdapi.Rights.
	Auth         bool   `json:"auth,omitempty"`
	AuthRevision uint64 `json:"authRevision,omitempty"`
	AuthAt       int64  `json:"authAt,omitempty"`
	// RightsAnew says that a copy came in the place of what was held: which users and roles there are a fresh source
	// says next, also if others that were heard of are newer. The fleet may have been restored.
	RightsAnew bool `json:"rightsAnew,omitempty"`
	// Parted says that what is held is of a history that a failover cut off, or not what its source had: it is not
	// shown, and does not lead on.
	Parted bool `json:"parted,omitempty"`
	// Sum is the checksum of all others, as they are written; "" in the file of a version before.
	Sum string `json:"sum,omitempty"`
}

const placeVersion = 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the file, with its checksum.
func (id identity) encode() ([]byte, error) {
	id.Sum = ""
	text, err := json.Marshal(&id)
	if err != nil {
		return nil, err
	}
	id.Sum = fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli))
	text, err = json.Marshal(&id)
	return append(text, '\n'), err
}

// identityOf reads the file. Of one that a disk spoiled nothing is known: ErrDamaged.
func identityOf(text []byte) (id identity, err error) {
	if err := json.Unmarshal(text, &id); err != nil {
		return id, fmt.Errorf("%w: %s: %w", replication.ErrDamaged, placeFile, err)
	}
	whole, err := id.encode()
	if err == nil && id.Sum != "" && id.Version == placeVersion && !bytes.Equal(whole, text) {
		err = fmt.Errorf("%w: %s is not what was written: empty the directory, and a copy comes from the fleet",
			replication.ErrDamaged, placeFile)
	}
	return id, err
}

// copyCacheBytes is enough for a store that is written and not read.
const copyCacheBytes = 8 << 20

// Place is the directory of a node of a partial region, and the store in it. What changes the store is called by one
// goroutine.
type Place struct {
	options PlaceOptions
	fs      durable.FS
	store   *kv.Store
	empty   bool // it holds nothing yet

	mu      sync.Mutex
	id      identity
	unsaved bool // id is not what the file says: it could not be written
	sound   bool // what it holds is at least what was shown from it, and may be shown
	ahead   bool // the users and roles that were heard of are newer than what a fresh source had last
}

// OpenPlace opens a directory, or makes it. Errors: replication.ErrIdentity if it is somebody else's, or follows other
// prefixes, and those of kv.Open.
func OpenPlace(o PlaceOptions) (*Place, error) {
	p := &Place{options: o, fs: o.FS}
	if p.fs == nil {
		p.fs = durable.OS
	}
	if err := durable.MakeDir(p.fs, o.Dir); err != nil {
		return nil, err
	}
	if err := p.identify(); err != nil {
		return nil, err
	}
	for _, name := range []string{copyDir, copiedDir} {
		if err := p.fs.RemoveAll(p.path(name)); err != nil {
			return nil, err
		}
	}
	store := o.Store
	store.Dir = p.path(storeDir)
	var err error
	if p.store, err = kv.Open(store); err != nil {
		return nil, err
	}
	meta, err := p.store.Load()
	if err == nil {
		p.empty = meta == nil
		p.sound = !p.empty && !p.id.Parted && p.id.Stopped == p.store.Revision()
		p.id.Stopped = 0
		err = p.save()
	}
	if err != nil {
		return nil, errors.Join(err, p.store.Close())
	}
	return p, nil
}

func (p *Place) path(name string) string { return filepath.Join(p.options.Dir, name) }

// identify finds out whose the directory is, and makes it this region's if it is nobody's.
func (p *Place) identify() error {
	o := &p.options
	want := identity{Version: placeVersion, Fleet: o.Fleet, Region: o.Region, Prefixes: o.Prefixes}
	if !IsPlace(p.fs, o.Dir) {
		for _, name := range []string{"kv", "wal", "ballot"} {
			if _, err := p.fs.Stat(p.path(name)); err == nil {
				return fmt.Errorf("%w: a node of a fleet, or a witness, has it (%s): a node of a partial region "+
					"needs a directory of its own", replication.ErrIdentity, name)
			}
		}
		p.id = want
		return p.save()
	}
	text, err := durable.ReadFile(p.fs, p.path(placeFile))
	if err != nil {
		return err
	}
	if p.id, err = identityOf(text); err != nil {
		return err
	}
	switch {
	case p.id.Version != placeVersion:
		return fmt.Errorf("%w: %s has version %d, and this program knows %d", replication.ErrNewer,
			placeFile, p.id.Version, placeVersion)
	case p.id.Fleet != want.Fleet || p.id.Region != want.Region:
		return fmt.Errorf("%w: it is of region %s of fleet %s, and not of %s of %s", replication.ErrIdentity,
			p.id.Region, p.id.Fleet, want.Region, want.Fleet)
	case !p.id.Prefixes.Equal(want.Prefixes):
		return fmt.Errorf("%w: it follows %s, and is to follow %s: for others begin with an empty directory",
			replication.ErrIdentity, p.id.Prefixes, want.Prefixes)
	}
	return nil
}

// save writes the file. mu is held, or nobody else knows of p.
func (p *Place) save() error {
	text, err := p.id.encode()
	if err == nil {
		err = durable.WriteFile(p.fs, p.path(placeFile), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	p.unsaved = err != nil
	return err
}

// Store returns what it holds.
func (p *Place) Store() *kv.Store { return p.store }

// Rights returns the newest users and roles of the fleet that were heard of.
func (p *Place) Rights() etcdapi.Rights {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rights()
}

// rights is Rights. mu is held.
func (p *Place) rights() etcdapi.Rights {
	return etcdapi.Rights{At: p.id.AuthAt, Revision: p.id.AuthRevision, Enabled: p.id.Auth}
}

// heard notes, durably, which users and roles a source has, unless newer ones were heard of. Of a source that does not
// say how new they are, or where that was never said, it counts that there are none only if the source is fresh: if it
// has what the fleet had acknowledged. Behind a copy those of a fresh source are taken as they are.
func (p *Place) heard(r etcdapi.Rights, fresh bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.rights()
	anew := p.id.RightsAnew && fresh && r.Revision > 0
	if fresh {
		p.ahead = !anew && known.Enabled && r.Revision > 0 && r.OlderThan(known)
	}
	switch {
	case anew:
	case r.Revision == 0 || known.Revision == 0:
		if known.Enabled && !r.Enabled && !fresh {
			return nil
		}
		if r.Revision == 0 {
			r.At, r.Revision = known.At, known.Revision
		}
	case !known.OlderThan(r): // it may be later, with the same users and roles
		return nil
	}
	if r == known && !anew {
		return nil
	}
	before := p.id
	p.id.Auth, p.id.AuthRevision, p.id.AuthAt = r.Enabled, r.Revision, r.At
	p.id.RightsAnew = p.id.RightsAnew && !anew
	if err := p.save(); err != nil {
		p.id = before
		return fmt.Errorf("note which users and roles the fleet has: %w", err)
	}
	return nil
}

// hearAnew notes, durably and before a copy comes in the place of what is held, that users and roles are heard of anew.
func (p *Place) hearAnew() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id.RightsAnew {
		return nil
	}
	p.id.RightsAnew = true
	if err := p.save(); err != nil {
		p.id.RightsAnew = false
		return fmt.Errorf("note that a copy comes in the place of what is held: %w", err)
	}
	return nil
}

// isAhead reports whether the fleet has older users and roles than those that were heard of, as a fresh source said.
func (p *Place) isAhead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ahead
}

// isSound reports whether what is held may be shown from the beginning on.
func (p *Place) isSound() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sound
}

// setSound notes whether what is held may be shown: the next process shows it from its beginning on if this one did to
// its end.
func (p *Place) setSound(is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sound = is
}

// leadsOn reports whether what is held is what to go on from.
func (p *Place) leadsOn() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.empty && !p.id.Parted
}

// setParted notes, durably, whether what is held is of no use.
func (p *Place) setParted(is bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id.Parted == is && !p.unsaved {
		return nil
	}
	p.id.Parted = is // also where it cannot be written: this process goes by it, and writes it with the next occasion
	return p.save()
}

// Close makes what is there durable, and lets go of it.
func (p *Place) Close() error {
	err := p.store.Sync()
	if meta, failed := p.store.Load(); err == nil && failed == nil && meta != nil {
		p.mu.Lock()
		if p.sound {
			p.id.Stopped = p.store.Revision()
		}
		err = p.save()
		p.mu.Unlock()
	}
	return errors.Join(err, p.store.Close())
}

// copying is a copy that comes.
type copying struct {
	place    *Place
	store    *kv.Store
	loader   *kv.Loader
	revision int64
	keys     int64
}

// begin makes room for a copy of a revision.
func (p *Place) begin(revision int64) (*copying, error) {
	o := p.options.Store
	o.Dir, o.CountBytes, o.CacheBytes = p.path(copyDir), -1, copyCacheBytes
	if err := errors.Join(p.fs.RemoveAll(o.Dir), p.fs.RemoveAll(p.path(copiedDir))); err != nil {
		return nil, err
	}
	store, err := kv.Open(o)
	if err != nil {
		return nil, err
	}
	c := &copying{place: p, store: store, revision: revision}
	if c.loader, err = kv.NewLoader(store); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return c, nil
}

// add takes some of it.
func (c *copying) add(changes []kv.Change) error {
	for i := range changes {
		if changes[i].Main > c.revision {
			return fmt.Errorf("%w: revision %d in a copy of %d", errMalformed, changes[i].Main, c.revision)
		}
		if changes[i].Kind == mvcc.KindPut {
			c.keys++
		}
		if err := c.loader.Held(changes[i].Key, &changes[i].Version); err != nil {
			return err
		}
	}
	return nil
}

// install puts the copy in the place of what there was.
func (c *copying) install() error {
	p := c.place
	err := c.loader.Finish(c.revision, c.revision, kv.NoteOfPart(c.revision))
	if err = errors.Join(err, c.loader.Close()); err == nil {
		err = c.store.Checkpoint(p.path(copiedDir))
	}
	if err = errors.Join(err, c.store.Close()); err == nil {
		err = p.store.Install(p.path(copiedDir), nil)
	}
	c.loader = nil
	if err != nil {
		return fmt.Errorf("install a copy: %w", err)
	}
	return errors.Join(p.fs.RemoveAll(p.path(copyDir)), p.fs.RemoveAll(p.path(copiedDir)))
}

// abandon lets go of a copy that did not come whole.
func (c *copying) abandon() {
	if c.loader == nil {
		return
	}
	p := c.place
	err := errors.Join(c.loader.Close(), c.store.Close(), p.fs.RemoveAll(p.path(copyDir)))
	if err != nil {
		p.options.Store.Logger.Warn("a copy that did not come whole cannot be removed", "err", err)
	}
}
