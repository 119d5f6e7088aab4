package etcd

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/backup/bolt"
	"github.com/mimir-kv/mimir/backup/whole"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/auth"
	"github.com/mimir-kv/mimir/kv/mvcc"
)

// Export writes the content of s, which nobody else uses, to a new file as etcdctl saves one: under another name first,
// durably, and under its own only when it is whole.
func Export(ctx context.Context, s *kv.Store, path string) (f Found, err error) {
	file, err := whole.Create(path)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, file.Abandon()) }()
	f, err = export(ctx, s, file)
	if err == nil {
		err = appendSum(ctx, file.File)
	}
	if err == nil {
		err = file.Finish()
	}
	if err == nil {
		_, err = OpenUntil(ctx, file.Name(), false)
	}
	if err == nil {
		err = file.Publish()
	}
	if err != nil {
		return f, fmt.Errorf("export: %w", err)
	}
	return f, nil
}

// export writes the database, its buckets in order of their names.
func export(ctx context.Context, s *kv.Store, to io.WriterAt) (f Found, err error) {
	w := &writer{Writer: bolt.NewWriter(to)}
	users := s.Auth()
	w.bucket(bucketAlarm)
	w.bucket(bucketAuth)
	enabled := []byte{0}
	if users.Enabled() {
		enabled[0] = 1
	}
	w.put(authEnabled, enabled)
	w.put(authRevision, binary.BigEndian.AppendUint64(nil, users.Revision()))
	f = w.users(users)
	w.bucket(bucketCluster)
	w.bucket(bucketKey)
	d, err := kv.Dump(ctx, s, func(key []byte, v *mvcc.Version) error {
		f.Changes++
		return w.change(key, v)
	})
	if err != nil {
		return f, err
	}
	f.Revision, f.Compact, f.Leases = d.Revision, d.Compact, len(d.Leases)
	if w.last.Main < d.Revision && d.Compact < d.Revision {
		w.moves(d.Revision)
	}
	w.bucket(bucketLease)
	for _, id := range byBytes(maps.Keys(d.Leases)) {
		w.put(string(binary.BigEndian.AppendUint64(nil, uint64(id))), encodeLease(id, d.Leases[id].TTL))
	}
	w.bucket(bucketMembers)
	w.bucket(bucketRemoved)
	w.bucket(bucketMeta)
	w.put(consistentIndex, binary.BigEndian.AppendUint64(nil, 1))
	if d.Compact > 0 {
		at := encodeRevision(mvcc.Stamp{Main: d.Compact}, false)
		w.put(finished, at)
		w.put(scheduled, at)
	}
	w.put(term, binary.BigEndian.AppendUint64(nil, 1))
	return f, errors.Join(w.err, w.Close())
}

// byBytes returns numbers in the order of their bytes.
func byBytes(ids func(func(int64) bool)) []int64 {
	return slices.SortedFunc(ids, func(a, b int64) int {
		switch {
		case uint64(a) < uint64(b):
			return -1
		case uint64(a) > uint64(b):
			return 1
		}
		return 0
	})
}

// writer keeps the first error.
type writer struct {
	*bolt.Writer
	last mvcc.Stamp
	err  error
}

func (w *writer) bucket(name string) {
	if w.err == nil {
		w.err = w.Bucket(name)
	}
}

func (w *writer) put(key string, value []byte) {
	if w.err == nil {
		w.err = w.Put([]byte(key), value)
	}
}

func (w *writer) message(key string, m proto.Message) {
	text, err := proto.Marshal(m)
	if w.err = errors.Join(w.err, err); err == nil {
		w.put(key, text)
	}
}

// users writes roles and users, in the order of their buckets.
func (w *writer) users(s *auth.State) (f Found) {
	roles, users := s.AllRoles(), s.AllUsers()
	w.bucket(bucketAuthRoles)
	for _, r := range roles {
		w.message(string(r.Name), r)
	}
	w.bucket(bucketAuthUsers)
	for _, u := range users {
		w.message(string(u.Name), u)
	}
	return Found{Roles: len(roles), Users: len(users), Enabled: s.Enabled()}
}

func (w *writer) change(key []byte, v *mvcc.Version) error {
	c := &mvccpb.KeyValue{Key: key}
	if v.Kind == mvcc.KindPut {
		c = v.KeyValue(key)
	}
	w.message(string(encodeRevision(v.Stamp, v.Kind == mvcc.KindDelete)), c)
	w.last = v.Stamp
	return w.err
}

// moves has the revision be what no change made it: the deletion of a key that never was.
func (w *writer) moves(to int64) {
	w.put(string(encodeRevision(mvcc.Stamp{Main: to}, true)), nil)
}

// appendSum writes the SHA-256 of a file behind it.
func appendSum(ctx context.Context, f *os.File) error {
	in, err := whole.Open(ctx, f.Name())
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, in)
	if err := errors.Join(err, in.Close()); err != nil {
		return err
	}
	_, err = f.WriteAt(sum.Sum(nil), n)
	return err
}
