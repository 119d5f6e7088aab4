package mirror_test

import (
	"errors"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// beside is a mirror of other keys, or to others, between the same fleet and etcd.
func (w *world) beside(prefix, toPrefix string) *world {
	other := &world{t: w.t, fleet: w.fleet, etcd: w.etcd, options: w.options}
	other.options.Prefix, other.options.ToPrefix = prefix, toPrefix
	other.options.Report, other.options.Trouble = other.report, other.tell
	return other
}

// endThere ends all leases of the etcd, with their keys.
func (w *world) endThere() {
	w.t.Helper()
	r, err := w.etcd.Leases(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range r.Leases {
		_, err := w.etcd.Revoke(w.t.Context(), l.ID)
		if err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			w.t.Fatal(err)
		}
	}
}

// there waits until the etcd has keys.
func (w *world) there(keys ...string) {
	w.t.Helper()
	for _, key := range keys {
		w.await(key+" is there", func() bool { return contents(w.t, w.etcd)[key] != "" })
	}
}

// Two mirrors into one etcd have nothing in common: what ends there, and comes back with one of them, is not taken for
// there by the other.
func TestTwoMirrorsShareNoLease(t *testing.T) {
	for name, to := range map[string][2]string{"of two prefixes": {"a/", "b/"}, "of one": {"x/", "y/"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			one, other := w.beside("a/", to[0]), w.beside("b/", to[1])
			if to[0] == "x/" {
				other = w.beside("a/", to[1])
			}
			lease := w.grant()
			w.put("a/k", "1", clientv3.WithLease(lease))
			w.put("b/k", "1", clientv3.WithLease(lease))
			endOne, endOther := one.begin(), other.begin()
			w.there(to[0]+"k", to[1]+"k")
			one.stop(endOne)
			other.stop(endOther)
			w.endThere()
			endOne = one.begin()
			w.there(to[0] + "k")
			endOther = other.begin()
			w.there(to[0]+"k", to[1]+"k")
			one.stop(endOne)
			if _, err := w.fleet.Revoke(t.Context(), lease); err != nil {
				t.Fatal(err)
			}
			w.await("it has ended for the one that runs", func() bool { return contents(t, w.etcd)[to[1]+"k"] == "" })
			w.there(to[0] + "k")
			other.stop(endOther)
		})
	}
}

// A mirror of before put keys under leases with the IDs of the fleet, which others could have as well.
func TestAPlaceOfBeforeIsComparedOnce(t *testing.T) {
	w := newWorld(t).beside("a/", "b/")
	lease := w.grant()
	w.put("a/k", "1", clientv3.WithLease(lease))
	end := w.begin()
	w.there("b/k")
	w.stop(end)
	_, err := pb.NewLeaseClient(w.etcd.ActiveConnection()).LeaseGrant(t.Context(),
		&pb.LeaseGrantRequest{ID: int64(lease), TTL: 600})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.etcd.Put(t.Context(), "b/k", "1", clientv3.WithLease(lease)); err != nil {
		t.Fatal(err)
	}
	w.changePlace(`"version":2`, `"version":1`)
	end = w.begin()
	w.await("it is under a lease of its own", func() bool {
		r, err := w.etcd.Get(t.Context(), "b/k")
		return err == nil && len(r.Kvs) == 1 && r.Kvs[0].Lease != int64(lease)
	})
	w.stop(end)
	w.changePlace(`"version":2`, `"version":2`)
}
