package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sync/errgroup"

	"github.com/mimir-kv/mimir/backup/sides"
)

const (
	// pageBytes is about how much a page has; firstKeys and mostKeys bound its keys.
	pageBytes           = 4 << 20
	firstKeys, mostKeys = 64, 10_000
	// pageTime bounds a page: an etcd counts all keys for each.
	pageTime = 2 * time.Minute
)

// Compared is what was found equal.
type Compared struct {
	Revision int64 `json:"revision"`
	Keys     int64 `json:"keys"` // or changes, of Changes
	Bytes    int64 `json:"bytes"`
	Leases   int   `json:"leases"`
	// Hash is of the keys at the revision, in their order, as changes are in those of ranges; of Content alone.
	Hash string `json:"hash,omitempty"`
	// Base is of History: the keys at the revision where Ranges begin.
	Base   *Compared `json:"base,omitempty"`
	Ranges []Range   `json:"ranges,omitempty"`
}

// VerifyOptions are what Verify compares.
type VerifyOptions struct {
	// Revision is where both are compared. 0: where the fleet is.
	Revision int64
	// Verified is a revision at which they were found equal, so that only what was changed since is. 0: everything is.
	Verified int64
	// Every has the history compared too, by hashes of ranges of so many revisions. 0: what is read at Revision alone.
	Every int64
	// Told is told how far it is. May be nil.
	Told func(Compared)
}

// valid says what cannot be compared. Behind a revision that was not come to yet nothing is, and that is not to be
// called equal; and a revision below zero is to each side whatever it has just then.
func (o *VerifyOptions) valid() error {
	if o.Revision < 0 || o.Verified < 0 || o.Verified > o.Revision {
		return fmt.Errorf("%w: what is behind %d is to be compared at %d: name one that both had when they were found "+
			"equal", ErrRevision, o.Verified, o.Revision)
	}
	return nil
}

// leasesPatience is how long leases may take to be equal: those that the etcd granted a moment ago are on their way.
const leasesPatience = 5 * time.Second

// Verify compares both sides: contents at a revision, leases as they are now, and the revision of users and roles. The
// first difference is ErrParted or ErrUsers. Where nothing would be compared it is ErrRevision.
func Verify(ctx context.Context, etcd, fleet sides.Side, o VerifyOptions) (c Compared, err error) {
	if o.Revision == 0 {
		h, err := fleet.Header(ctx)
		if err != nil {
			return c, err
		}
		o.Revision = h.Revision
	}
	if err := o.valid(); err != nil {
		return c, err
	}
	if o.Verified > 0 && o.Every == 0 {
		c, err = Changes(ctx, etcd, fleet, o.Verified, o.Revision, o.Told)
	} else {
		c, err = Content(ctx, etcd, fleet, o.Revision, o.Told)
	}
	if err == nil && o.Every > 0 {
		var base Compared
		base, c.Ranges, err = History(ctx, etcd, fleet, o.Verified, o.Revision, o.Every, o.Told)
		c.Base = &base
	}
	if err != nil {
		return c, err
	}
	for end := time.Now().Add(leasesPatience); ; {
		if c.Leases, err = Leases(ctx, etcd, fleet); err == nil || !errors.Is(err, ErrParted) || time.Now().After(end) {
			break
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
	if err == nil {
		err = Users(ctx, etcd, fleet)
	}
	return c, err
}

// Content compares all keys of both sides at a revision: values, versions, create and mod revisions, leases. The first
// difference is ErrParted. It holds a page of each side. told may be nil.
func Content(ctx context.Context, etcd, fleet sides.Side, at int64, told func(Compared)) (Compared, error) {
	c := Compared{Revision: at}
	limit, sum := int64(firstKeys), newDigest()
	for key := sides.All; key != nil; {
		var pages [2]*pb.RangeResponse
		group, within := errgroup.WithContext(ctx)
		for i, side := range []sides.Side{etcd, fleet} {
			group.Go(func() (err error) {
				pages[i], err = page(within, side, key, at, limit)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return c, err
		}
		a, b := pages[0], pages[1]
		for i := range max(len(a.Kvs), len(b.Kvs)) {
			if err := sameKey(at, keyOf(a.Kvs, i), keyOf(b.Kvs, i)); err != nil {
				return c, err
			}
		}
		if a.More != b.More {
			return c, fmt.Errorf("%w: at revision %d one side has keys behind %q, and the other has not", ErrParted, at,
				last(a, b))
		}
		page := sum.sumKeys(a.Kvs)
		c.Keys, c.Bytes = c.Keys+int64(len(a.Kvs)), c.Bytes+page
		if key = nil; a.More {
			key = append(bytes.Clone(a.Kvs[len(a.Kvs)-1].Key), 0)
		}
		fits := limit * pageBytes / max(page, 1)
		limit = max(1, min(fits, 2*limit, mostKeys))
		if told != nil {
			told(c)
		}
	}
	c.Hash = sum.sum()
	return c, nil
}

// page returns up to limit keys from one on.
func page(ctx context.Context, s sides.Side, key []byte, at, limit int64) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	r, err := pb.NewKVClient(s.Conn).Range(ctx, &pb.RangeRequest{
		Key: key, RangeEnd: sides.All, Revision: at, Limit: limit, Serializable: false,
	}, sides.Large)
	if err != nil {
		return nil, fmt.Errorf("keys of %s at revision %d: %w", s.Name, at, err)
	}
	if r.More && len(r.Kvs) == 0 {
		return nil, fmt.Errorf("keys of %s at revision %d: it says that there are more, and shows none", s.Name, at)
	}
	return r, nil
}

// last returns the last key of two pages that are equal; nil if there is none.
func last(a, b *pb.RangeResponse) (key []byte) {
	if kvs := slices.Concat(a.Kvs, b.Kvs); len(kvs) > 0 {
		key = kvs[len(kvs)-1].Key
	}
	return key
}

// keyOf returns one of a page, nil behind its end.
func keyOf(kvs []*mvccpb.KeyValue, i int) *mvccpb.KeyValue {
	if i < len(kvs) {
		return kvs[i]
	}
	return nil
}

func sameKey(at int64, etcd, fleet *mvccpb.KeyValue) error {
	differ := func(what string, a, b any) error {
		return fmt.Errorf("%w: at revision %d key %q has %s %v in the etcd and %v in the fleet", ErrParted, at,
			etcd.Key, what, a, b)
	}
	switch {
	case fleet == nil, etcd != nil && bytes.Compare(etcd.Key, fleet.Key) < 0:
		return fmt.Errorf("%w: at revision %d the etcd has key %q, and the fleet has not", ErrParted, at, etcd.Key)
	case etcd == nil, bytes.Compare(etcd.Key, fleet.Key) > 0:
		return fmt.Errorf("%w: at revision %d the fleet has key %q, and the etcd has not", ErrParted, at, fleet.Key)
	case etcd.ModRevision != fleet.ModRevision:
		return differ("mod revision", etcd.ModRevision, fleet.ModRevision)
	case etcd.CreateRevision != fleet.CreateRevision:
		return differ("create revision", etcd.CreateRevision, fleet.CreateRevision)
	case etcd.Version != fleet.Version:
		return differ("version", etcd.Version, fleet.Version)
	case etcd.Lease != fleet.Lease:
		return differ("lease", fmt.Sprintf("%x", etcd.Lease), fmt.Sprintf("%x", fleet.Lease))
	case !bytes.Equal(etcd.Value, fleet.Value):
		return differ("a value", fmt.Sprintf("of %d bytes", len(etcd.Value)),
			fmt.Sprintf("another one, of %d", len(fleet.Value)))
	}
	return nil
}

// Changes compares all changes of both sides behind one revision up to another: what they are and in which order. If
// the contents are equal at the one they are then equal at each. The first difference is ErrParted; ErrCompacted says
// that one side has not all of them any more.
func Changes(ctx context.Context, etcd, fleet sides.Side, behind, to int64, told func(Compared)) (Compared, error) {
	c := Compared{Revision: to}
	if behind >= to {
		return c, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watches [2]*sides.Watch
	for i, side := range []sides.Side{etcd, fleet} {
		var err error
		if watches[i], err = sides.OpenWatch(ctx, side.Conn, behind+1); err != nil {
			return c, fmt.Errorf("%s: %w", side.Name, err)
		}
	}
	for at := behind; at < to; {
		var both [2]*sides.Revision
		for i, side := range []sides.Side{etcd, fleet} {
			patience := time.AfterFunc(pageTime, cancel)
			var err error
			both[i], err = watches[i].Next()
			if patience.Stop(); err != nil {
				return c, fmt.Errorf("%s: changes behind revision %d: %w", side.Name, at, err)
			}
		}
		if err := same(both[0], both[1]); err != nil {
			return c, err
		}
		at = both[0].Number
		c.Keys, c.Bytes = c.Keys+int64(len(both[0].Events)), c.Bytes+both[0].Bytes
		if told != nil {
			told(c)
		}
	}
	return c, nil
}

// Leases compares which leases there are, and their times to live, and returns how many. They change while the etcd is
// written, and follow a moment later.
func Leases(ctx context.Context, etcd, fleet sides.Side) (int, error) {
	var times [2]map[int64]int64
	for i, side := range []sides.Side{etcd, fleet} {
		ids, err := side.Leases(ctx)
		if err == nil {
			times[i], err = side.Granted(ctx, slices.Collect(maps.Keys(ids)))
		}
		if err != nil {
			return 0, err
		}
		maps.DeleteFunc(times[i], func(_, ttl int64) bool { return ttl == 0 }) // it has ended meanwhile
	}
	a, b := times[0], times[1]
	ids := maps.Clone(a)
	maps.Copy(ids, b)
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if a[id] != b[id] {
			return 0, fmt.Errorf("%w: lease %x was granted %d s in the etcd and %d s in the fleet (0: there is none)",
				ErrParted, id, a[id], b[id])
		}
	}
	return len(ids), nil
}

// Users compares whether authentication is on, and the revision of users and roles.
func Users(ctx context.Context, etcd, fleet sides.Side) error {
	a, err := usersOf(ctx, etcd)
	if err != nil {
		return err
	}
	b, err := usersOf(ctx, fleet)
	if err != nil {
		return err
	}
	return sameUsers(a, b)
}
