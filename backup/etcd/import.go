package etcd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/backup/bolt"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Import is a snapshot of etcd on its way into a new fleet.
type Import struct {
	Context  context.Context // nil: it is never given up
	Snapshot *Snapshot
	// Follow has the content follow the etcd from there on: it takes no writes but what backup/live brings from it.
	Follow bool
	// Found is what it holds, once Put has returned without error.
	Found Found
}

// Found is what an import was of.
type Found struct {
	Revision, Compact int64 // Compact -1: never
	Changes           int64
	Leases            int
	Users, Roles      int
	Enabled           bool // authentication
}

// Put implements server.Content.
func (i *Import) Put(o kv.Options, describe func(replication.Seed) (*replication.Metadata, error)) error {
	ctx := cmp.Or(i.Context, context.Background())
	s, err := kv.Open(o)
	if err != nil {
		return err
	}
	l, err := kv.NewLoader(s)
	if err == nil {
		load := func(db *bolt.File) error { return i.load(db, l, describe) }
		err = errors.Join(i.Snapshot.read(ctx, load), l.Close())
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return fmt.Errorf("import %s: %w", i.Snapshot.Path, err)
	}
	return nil
}

// load fills l in the order in which it wants to be told.
func (i *Import) load(
	db *bolt.File, l *kv.Loader, describe func(replication.Seed) (*replication.Metadata, error),
) error {
	i.Found = Found{Revision: mvcc.FirstRevision, Compact: -1}
	for _, step := range []func(*bolt.File, *kv.Loader) error{i.meta, i.leases, i.users, i.changes} {
		if err := step(db, l); err != nil {
			return err
		}
	}
	seed := replication.Seed{
		Origin: sha256.Sum256(append([]byte("etcd snapshot"), i.Snapshot.Digest[:]...)),
		// Each change of etcd's was a command of a history that nobody knows any more.
		Position: replication.Position(i.Found.Revision),
	}
	if l.HasUsers() {
		seed.Level = timeline.LevelUsers
	}
	if i.Follow {
		seed.Level = timeline.LevelFollow
		seed.Origin = sha256.Sum256(append([]byte("followed"), seed.Origin[:]...))
		if err := l.Follow(); err != nil {
			return err
		}
	}
	meta, err := describe(seed)
	if err != nil {
		return err
	}
	return l.Finish(i.Found.Revision, i.Found.Compact, meta)
}

// meta finds the compaction. One that was begun counts: etcd ends it when it starts.
func (i *Import) meta(db *bolt.File, _ *kv.Loader) error {
	found, err := db.Each(bucketMeta, func(key, value []byte) error {
		if k := string(key); k != scheduled && k != finished {
			return nil
		}
		at, _, err := decodeRevision(value)
		i.Found.Compact = max(i.Found.Compact, at.Main)
		i.Found.Revision = max(i.Found.Revision, at.Main)
		return err
	})
	return lacking(bucketMeta, found, err)
}

// lacking says that a bucket is not there, of those that every etcd from 3.0 on makes whenever it starts: without it
// something was lost.
func lacking(bucket string, found bool, err error) error {
	if err == nil && !found {
		return fmt.Errorf("%w: it has no bucket %q, which an etcd v3 always has", ErrBroken, bucket)
	}
	return err
}

func (i *Import) leases(db *bolt.File, l *kv.Loader) error {
	found, err := db.Each(bucketLease, func(key, value []byte) error {
		id, ttl, err := decodeLease(value)
		if err == nil && (len(key) != 8 || int64(binary.BigEndian.Uint64(key)) != id) {
			err = fmt.Errorf("%w: lease %x under %x", ErrBroken, id, key)
		}
		i.Found.Leases++
		if err != nil {
			return err
		}
		return l.Lease(id, ttl)
	})
	return lacking(bucketLease, found, err)
}

func (i *Import) users(db *bolt.File, l *kv.Loader) error {
	f := &auth.Foreign{}
	found, err := db.Each(bucketAuth, func(key, value []byte) error {
		switch string(key) {
		case authEnabled:
			f.Enabled = len(value) == 1 && value[0] == 1
		case authRevision:
			if len(value) != 8 {
				return fmt.Errorf("%w: %s of %d bytes", ErrBroken, key, len(value))
			}
			f.Revision = binary.BigEndian.Uint64(value)
		}
		return nil
	})
	if err = lacking(bucketAuth, found, err); err == nil {
		found, err = db.Each(bucketAuthUsers, func(key, value []byte) error {
			u := &authpb.User{}
			f.Users = append(f.Users, u)
			return decode(bucketAuthUsers, key, value, u)
		})
		err = lacking(bucketAuthUsers, found, err)
	}
	if err == nil {
		found, err = db.Each(bucketAuthRoles, func(key, value []byte) error {
			r := &authpb.Role{}
			f.Roles = append(f.Roles, r)
			return decode(bucketAuthRoles, key, value, r)
		})
		err = lacking(bucketAuthRoles, found, err)
	}
	if err != nil {
		return err
	}
	i.Found.Users, i.Found.Roles, i.Found.Enabled = len(f.Users), len(f.Roles), f.Enabled
	return l.Users(f, i.Snapshot.Digest[:])
}

func decode(bucket string, key, value []byte, m proto.Message) error {
	if err := proto.Unmarshal(value, m); err != nil {
		return fmt.Errorf("%w: %q in bucket %s: %w", ErrBroken, key, bucket, err)
	}
	return nil
}

func (i *Import) changes(db *bolt.File, l *kv.Loader) error {
	found, err := db.Each(bucketKey, func(key, value []byte) error {
		at, deleted, err := decodeRevision(key)
		if err != nil {
			return err
		}
		var c mvccpb.KeyValue
		if err := decode(bucketKey, key, value, &c); err != nil {
			return err
		}
		i.Found.Revision = max(i.Found.Revision, at.Main)
		if len(c.Key) == 0 { // no change: it only moves the revision, as etcd's own tool does where it is asked to
			return nil
		}
		v := mvcc.Version{Stamp: at, Kind: mvcc.KindDelete}
		if !deleted {
			v = mvcc.Version{
				Stamp: at, Create: c.CreateRevision, Number: c.Version, Lease: c.Lease, Value: c.Value,
			}
		}
		if !deleted && c.ModRevision != at.Main {
			return fmt.Errorf("%w: key %q of revision %d under revision %d", ErrBroken, c.Key, c.ModRevision, at.Main)
		}
		i.Found.Changes++
		return l.Version(c.Key, &v)
	})
	return lacking(bucketKey, found, err)
}
