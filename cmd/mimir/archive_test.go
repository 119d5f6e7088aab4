//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/backup/store/storetest"
)

// TestPointInTimeByHand is the section "To a point in time" of docs/operating.md: a node archives its log, somebody
// deletes everything, and another fleet begins with what was there before, by its revision and by its time.
func TestPointInTimeByHand(t *testing.T) {
	t.Run("folder", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(dir+"/by-hand", 0o700); err != nil {
			t.Fatal(err)
		}
		pointInTime(t, "file://"+dir)
	})
	t.Run("object storage", func(t *testing.T) { pointInTime(t, storetest.NewS3(t, false).Place("p")) })
}

func pointInTime(t *testing.T, place string) {
	object := func(name string) string {
		path, query, _ := strings.Cut(place, "?")
		return strings.TrimSuffix(path+"/by-hand/"+name+"?"+query, "?")
	}
	old := aNodeAlone(t, "old")
	old.flags = append(old.flags, "--archive-to", place, "--archive-every", "1s")
	c := old.start(t)
	must := func(want string, arguments ...string) string {
		t.Helper()
		code, out, errs := mimir(t, arguments...)
		if code != exitDone || !strings.Contains(out, want) {
			t.Fatalf("%v: %d\n%s%s", arguments, code, out, errs)
		}
		return out
	}
	refused := func(want string, arguments ...string) {
		t.Helper()
		if code, out, errs := mimir(t, arguments...); code == exitDone || !strings.Contains(errs, want) {
			t.Errorf("%v: %d\n%s%s", arguments, code, out, errs)
		}
	}
	write := func(key, value string) {
		t.Helper()
		if _, err := c.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it archives", func() bool {
		_, out, _ := mimir(t, "status", "--endpoints", old.endpoint)
		return strings.Contains(out, "us-1 of us has archived the log up to position")
	})
	write("first", "1")
	// archived waits until what is written by now is archived.
	archived := func() (s archiveStatus) {
		t.Helper()
		got, err := c.Get(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "all is archived", func() bool {
			_, out, _ := mimir(t, "archive", "status", place, "-o", "json")
			s = archiveStatus{}
			return json.Unmarshal([]byte(out), &s) == nil && len(s.Branches) == 1 &&
				int64(s.Branches[0].Revision) >= got.Header.Revision
		})
		return s
	}
	first, second := object("first"), object("second")
	must("in fleet old", "snapshot", "save", first, "--endpoints", old.endpoint)
	for i := range 3 {
		write("k", fmt.Sprint(i)) // revisions 3 to 5
	}
	archived()
	before := time.Now()
	if _, err := c.Delete(t.Context(), "", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	write("k", "too late")
	must("in fleet old", "snapshot", "save", second, "--endpoints", old.endpoint)
	s := archived()
	must("in force", "archive", "status", place)
	must("verified", "archive", "verify", place, first, second)
	refused("the snapshot is of later", "archive", "verify", place, second, first)
	if code := old.stop(); code != exitDone {
		t.Fatalf("ended with %d", code)
	}

	must("exported "+object("etcd.db"), "export", object("etcd.db"), "--from", second)
	refused("already exists", "export", object("etcd.db"), "--from", second)
	if folder, is := strings.CutPrefix(object("etcd.db"), "file://"); is {
		must("imported", append(append([]string{"import"}, aNodeAlone(t, "etcd").flags...), "--from", folder)...)
	}
	must("verified", "archive", "verify", place, first, second)
	must("would delete", "archive", "prune", place, second, "--dry-run")
	must("would delete", "archive", "prune", place, second, "--dry-run", "--branch", "1")
	refused("no branch ends in epoch 9", "archive", "prune", place, second, "--dry-run", "--branch", "9")

	fresh := aNodeAlone(t, "new")
	restore := func(more ...string) []string {
		return append(append([]string{"snapshot", "restore", first}, fresh.flags...), more...)
	}
	refused("go with --archive", restore("--to-revision", "5")...)
	refused("wants one of", restore("--archive", place)...)
	refused("wants one of", restore("--archive", place, "--to-revision", "5", "--to-position", "5")...)
	refused("no such point", restore("--archive", place, "--to-position", "18446744073709551615")...)
	refused("ends with revision 7", restore("--archive", place, "--to-revision", "8")...)
	refused("is of later", restore("--archive", place, "--to-revision", "1")...)
	refused("what is known of the branch ends at", restore("--archive", place, "--to-time",
		time.Now().Add(time.Hour).Format(time.RFC3339))...)
	refused("no branch ends in epoch 9", restore("--archive", place, "--to-revision", "5", "--branch", "9")...)
	must("revision 5, 2 keys", restore("--archive", place, "--to-time", before.Format(time.RFC3339Nano))...)
	if err := os.RemoveAll(fresh.flags[7]); err != nil {
		t.Fatal(err)
	}
	must(fmt.Sprintf("position %d", s.Branches[0].Position), restore("--archive", place, "--to-position",
		fmt.Sprint(s.Branches[0].Position))...)
	if err := os.RemoveAll(fresh.flags[7]); err != nil {
		t.Fatal(err)
	}
	must("revision 1005, 2 keys", restore("--archive", place, "--to-revision", "5", "--bump-revision", "1000",
		"--mark-compacted")...)
	if out := must(": deleted", "archive", "prune", place, second); strings.Contains(out, "deleted 0 of") {
		t.Error(out)
	}
	refused("reaches back to position", "archive", "prune", place, first)
	refused("", "archive", "verify", place, first, second)
	must("verified", "archive", "verify", place, second, second)
	fresh.flags = append(fresh.flags, "--archive-to", place)
	c = fresh.start(t)
	got, err := c.Get(t.Context(), "k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "2" || got.Kvs[0].ModRevision != 5 ||
		got.Header.Revision != 1005 {
		t.Errorf("%v, %v", got, err)
	}
	r := <-c.Watch(t.Context(), "k", clientv3.WithRev(6))
	if r.Err() != rpctypes.ErrCompacted || r.CompactRevision != 1005 {
		t.Errorf("a watch of before: %+v, %v", r, r.Err())
	}
	write("k", "more")
}
