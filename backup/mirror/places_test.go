package mirror_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/mirror"
	"github.com/mimir-kv/mimir/backup/sides"
)

// limit turns authentication on, with a user m who may read and write keys with some prefixes.
func limit(t *testing.T, c *clientv3.Client, prefixes ...string) sides.Dial {
	t.Helper()
	ctx := t.Context()
	done := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"root", "m"} {
		_, err := c.RoleAdd(ctx, name)
		done(nil, err)
		_, err = c.UserAdd(ctx, name, name)
		done(nil, err)
		_, err = c.UserGrantRole(ctx, name, name)
		done(nil, err)
	}
	for _, p := range prefixes {
		_, err := c.RoleGrantPermission(ctx, "m", p, clientv3.GetPrefixRangeEnd(p),
			clientv3.PermissionType(clientv3.PermReadWrite))
		done(nil, err)
	}
	_, err := c.AuthEnable(ctx)
	done(nil, err)
	endpoint := c.Endpoints()[0]
	return func(ctx context.Context) (*grpc.ClientConn, error) {
		return backup.Dial(ctx, endpoint, nil, backup.Who{User: "m", Password: "m"})
	}
}

// Users need no more than the keys that are mirrored, and the place: but on the side of the fleet where something else
// is under leases.
func TestUsersOfAPrefix(t *testing.T) {
	w := newWorld(t)
	w.options.Prefix, w.options.ToPrefix = "/app/", "/copy/"
	theirs, err := w.etcd.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.etcd.Put(t.Context(), "/mine", "1", clientv3.WithLease(theirs.ID)); err != nil {
		t.Fatal(err)
	}
	etcd := w.etcd
	w.options.To = limit(t, etcd, "/copy/", "mimir.mirror/place//copy/")
	root, err := clientv3.New(clientv3.Config{Endpoints: etcd.Endpoints(), Username: "root", Password: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w.etcd = root
	lease := w.grant()
	w.put("/app/a", "1", clientv3.WithLease(lease))
	other := w.grant()
	w.options.From = limit(t, w.fleet, "/app/")
	asRoot, err := clientv3.New(clientv3.Config{Endpoints: w.fleet.Endpoints(), Username: "root", Password: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer asRoot.Close()
	w.fleet = asRoot
	end := w.begin()
	w.await("it is there", func() bool { return strings.HasPrefix(contents(t, w.etcd)["/copy/a"], "1 under ") })
	if _, err := w.fleet.Revoke(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	w.await("it is gone", func() bool { return len(contents(t, w.etcd)) == 1 })
	w.stop(end)
	w.put("/other", "1", clientv3.WithLease(other))
	err = mirror.Run(t.Context(), w.options)
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "told to root") {
		t.Error(err)
	}
}

// A key of which nothing would be left is told, and left out.
func TestAKeyThatWouldBeEmpty(t *testing.T) {
	w := newWorld(t)
	w.options.Prefix = "/config/"
	w.put("/config/", "1")
	w.put("/config/a", "1")
	end := w.begin()
	w.await("the other one", func() bool { return len(contents(t, w.etcd)) == 1 })
	w.put("/config/", "2")
	w.put("/config/b", "2")
	want := map[string]string{"a": "1 under 0", "b": "2 under 0"}
	w.await("the others", func() bool { return maps.Equal(contents(t, w.etcd), want) })
	w.stop(end)
	if len(w.trouble) != 1 || !w.told(`"/config/" of the fleet is left out`) {
		t.Errorf("trouble: %q", w.trouble)
	}
}

// A prefix may be any bytes.
func TestAPrefixThatIsNoText(t *testing.T) {
	w := newWorld(t)
	w.options.Prefix, w.options.ToPrefix = "\xff\"", "\xfe\\"
	for _, value := range []string{"1", "2"} {
		w.put("\xff\"k", value)
		end := w.begin()
		w.await("it is there", func() bool { return contents(t, w.etcd)["\xfe\\k"] == value+" under 0" })
		w.stop(end)
	}
}

// What would be mirrored to itself is refused; what is beside it in the same cluster is not.
func TestNothingIsMirroredToItself(t *testing.T) {
	w := newWorld(t)
	w.options.To, w.options.Overwrite, w.etcd = w.options.From, true, w.fleet
	w.put("a/k", "1")
	for from, to := range map[string]string{"": "copy/", "a/": "a/", "a/b": "a/", "mimir.": "x"} {
		w.options.Prefix, w.options.ToPrefix = from, to
		if err := mirror.Run(t.Context(), w.options); !errors.Is(err, mirror.ErrItself) {
			t.Errorf("%q to %q: %v", from, to, err)
		}
	}
	w.options.Prefix, w.options.ToPrefix = "a/", "b/"
	brief, err := w.fleet.Grant(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	w.put("a/brief", "1", clientv3.WithLease(brief.ID))
	end := w.begin()
	w.await("it is there", func() bool { return contents(t, w.etcd)["b/k"] == "1 under 0" })
	w.there("b/brief")
	w.await("a lease that nobody keeps alive ends", func() bool { return len(contents(t, w.etcd)) == 2 })
	w.stop(end)
}

// The keys of another mirror, and all places, are not touched.
func TestNothingOfAnotherMirrorIsTaken(t *testing.T) {
	w := newWorld(t)
	const theirs = "mimir.mirror/place/copy/"
	if _, err := w.etcd.Put(t.Context(), theirs, "1"); err != nil {
		t.Fatal(err)
	}
	w.put("k", "1")
	w.put("mimir.mirror/place/x", "of the fleet")
	w.options.Overwrite = true
	for _, to := range []string{"", "cop", "copy/of", "mimir.mirror/place/", "mimir.mirror/place/x"} {
		w.options.ToPrefix = to
		if err := mirror.Run(t.Context(), w.options); !errors.Is(err, mirror.ErrForeign) {
			t.Errorf("to %q: %v", to, err)
		}
	}
	w.options.Prefix, w.options.ToPrefix, w.options.Overwrite = "mimir.", "mimir.", false
	end := w.begin()
	w.put("mimir.k", "1")
	w.await("it is there", func() bool { return contents(t, w.etcd)["mimir.k"] == "1 under 0" })
	w.stop(end)
	r, err := w.etcd.Get(t.Context(), "mimir.mirror/place/", clientv3.WithPrefix())
	if err != nil || len(r.Kvs) != 2 || string(r.Kvs[0].Key) != theirs || string(r.Kvs[0].Value) != "1" ||
		string(r.Kvs[1].Key) != "mimir.mirror/place/mimir." {
		t.Error(r, err)
	}
}

// What somebody else puts among the keys goes with the next comparison.
func TestWhatIsPutLaterGoesWithAComparison(t *testing.T) {
	w := newWorld(t)
	w.put("k", "1")
	end := w.begin()
	w.settled()
	w.stop(end)
	if _, err := w.etcd.Put(t.Context(), "theirs", "1"); err != nil {
		t.Fatal(err)
	}
	w.changePlace(`"revision":`, `"comparing":true,"revision":`)
	end = w.begin()
	w.settled()
	w.stop(end)
}
