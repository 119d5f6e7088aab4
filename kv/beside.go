package kv

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// stay is a run of positions of one epoch, up to at, as far as is known since the store was loaded: from since on
// leases, users and alarms were what they are now, and from settled on the revision and the compaction.
type stay struct {
	epoch          replication.Epoch
	since, settled replication.Position
	at             replication.Position
}

// stayFrom is that of a store which holds the state that meta describes; nil: none yet.
func stayFrom(meta *replication.Metadata) stay {
	if meta == nil {
		return stay{}
	}
	return stay{meta.Epoch, meta.Position, meta.Position, meta.Position}
}

// next is the stay after a batch, which may have changed what is beside the keys, or moved the revision.
func (s stay) next(meta *replication.Metadata, changed, moved bool) stay {
	if meta.Epoch != s.epoch {
		return stayFrom(meta)
	}
	s.at = meta.Position
	if changed {
		s.since = s.at
	}
	if moved {
		s.settled = s.at
	}
	return s
}

// Beside is what a store holds beside its keys: leases with their times to live, users and roles, and alarms. It is the
// same at all positions of Epoch from Since up to At, and so are those sums on all nodes of equal history. Which keys
// hang on a lease is no part of it: each version of a key says that of itself.
type Beside struct {
	Epoch     replication.Epoch
	Since, At replication.Position
	// Revision and Compact are those of the store, the same at all positions from Settled up to At.
	Revision, Compact int64
	Settled           replication.Position
	Leases            int64 // how many there are
	// Of the leases, of users and roles, and of the alarms.
	LeaseSum, UserSum, AlarmSum [mvcc.SumBytes]byte
}

// ErrBusy says that a store changed all the time while it was looked at.
var ErrBusy = errors.New("kv: the store changes too fast to be looked at")

// What is on disk and what readers are shown are one moment but while a batch is shown, so that it is looked for again
// in a moment.
const (
	besideTries = 1000
	besidePause = time.Millisecond
)

// DigestBeside returns what s holds beside its keys, as it is on disk. Errors: ErrBusy, ErrClosed, the context's, and
// what cannot be read.
func DigestBeside(ctx context.Context, s *Store) (Beside, error) {
	g, err := s.acquire()
	if err != nil {
		return Beside{}, err
	}
	defer g.release()
	for range besideTries {
		if err := ctx.Err(); err != nil {
			return Beside{}, err
		}
		now := g.now.Load()
		db := g.db.NewSnapshot()
		b, same, err := digestBeside(db, now)
		if err = cmp.Or(asDamage(err), db.Close()); err != nil || same {
			return b, err
		}
		pause := s.options.Clock.NewTimer(besidePause)
		select {
		case <-pause.C():
		case <-ctx.Done():
			pause.Stop()
		}
	}
	return Beside{}, ErrBusy
}

// digestBeside sums what is in db, if that is the moment now.
func digestBeside(db pebble.Reader, now *moment) (b Beside, same bool, err error) {
	encoded, err := mvcc.LoadMetadata(db)
	if err != nil {
		return b, false, err
	}
	var meta *replication.Metadata
	if encoded != nil {
		meta = new(replication.Metadata)
		if err := meta.UnmarshalBinary(encoded); err != nil {
			return b, false, err
		}
	}
	if at := stayFrom(meta); at.epoch != now.stay.epoch || at.at != now.stay.at {
		return b, false, nil
	}
	b.Epoch, b.Since, b.Settled, b.At = now.stay.epoch, now.stay.since, now.stay.settled, now.stay.at
	b.Revision, b.Compact = now.Revision, now.Compact
	sum := sha256.New()
	err = mvcc.EachLease(db, func(id int64, ttl uint64, ending bool) error {
		b.Leases++
		sum.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(id)), ttl))
		if ending { // of which versions that do not sum it know nothing
			sum.Write([]byte{1})
		}
		return nil
	})
	if err != nil {
		return b, false, err
	}
	b.LeaseSum = [mvcc.SumBytes]byte(sum.Sum(nil))
	users := auth.NewLoad()
	if err := mvcc.EachAuth(db, users.Add); err != nil {
		return b, false, err
	}
	all := sha256.Sum256(users.State().Append(nil))
	b.UserSum = [mvcc.SumBytes]byte(all[:])
	alarms, err := mvcc.LoadAlarms(db)
	if err != nil {
		return b, false, err
	}
	all = sha256.Sum256(alarms.Append(nil))
	b.AlarmSum = [mvcc.SumBytes]byte(all[:])
	return b, true, nil
}
