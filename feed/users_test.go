package feed_test

import (
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/feed"
)

// By a client of etcd, which logs in, whoever may read keys follows them, and is told at once where he may not.
func TestWhoMayReadFollows(t *testing.T) {
	w := newWorld(t, 1)
	ctx, c := t.Context(), w.write[0]
	for _, err := range []error{
		second(c.UserAdd(ctx, "root", "r00t")), second(c.UserGrantRole(ctx, "root", "root")),
		second(c.UserAdd(ctx, "reader", "r")), second(c.RoleAdd(ctx, "reads")),
		second(c.UserGrantRole(ctx, "reader", "reads")),
		second(c.RoleGrantPermission(ctx, "reads", "a/", "a0", clientv3.PermissionType(clientv3.PermRead))),
		second(c.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	as := func(user, password string) *clientv3.Client {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{w.nodes[0].Endpoint}, Username: user,
			Password: password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	root, dial := as("root", "r00t"), feed.Over(as("reader", "r").ActiveConnection())
	key, end := feed.Prefix("a/")
	r := w.follow(feed.Options{Dial: dial, Key: key, End: end})
	r.want("begin")
	if _, err := root.Put(ctx, "a/1", "1"); err != nil {
		t.Fatal(err)
	}
	r.want("revision put a/1=1")
	for _, end := range []string{"b", ""} {
		o := feed.Options{Dial: dial, Key: key, End: []byte(end)}
		if end == "" {
			o.Key, o.End = nil, nil
		}
		f := w.follow(o)
		if end != "" {
			f.want("begin") // he may read the first key, which is asked for
		}
		if err := f.ends(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("up to %q: %v", end, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
