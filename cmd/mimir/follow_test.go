//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// TestMoveByHand is the recipe of docs/migration.md, where the part of the etcd is played by a node of Mimir, which
// speaks its protocol and refuses writes as it does while the alarm CORRUPT is raised.
func TestMoveByHand(t *testing.T) {
	old, fresh := aNodeAlone(t, "old"), aNodeAlone(t, "new")
	from := old.start(t)
	write := func(c *clientv3.Client, key string) (int64, error) {
		r, err := c.Put(t.Context(), key, "value of "+key)
		if err != nil {
			return 0, err
		}
		return r.Header.Revision, nil
	}
	for i := range 3 {
		if _, err := write(from, fmt.Sprint("before/", i)); err != nil {
			t.Fatal(err)
		}
	}
	says := func(code int, want string, arguments ...string) {
		t.Helper()
		got, out, errs := mimir(t, arguments...)
		if got != code || !strings.Contains(out+errs, want) {
			t.Fatalf("%v: %d, want %d and %q\n%s%s", arguments, got, code, want, out, errs)
		}
	}
	file, url := filepath.Join(t.TempDir(), "etcd.db"), "http://"+old.endpoint
	both := []string{"--from", url, "--endpoints", fresh.endpoint}
	imported := func(more ...string) []string { return append(append([]string{"import"}, fresh.flags...), more...) }
	says(exitDone, "revision 4", "export", file, "--endpoints", old.endpoint)
	says(exitUsage, "names a file", imported("--from", file, "--keep", "x")...)
	says(exitUsage, "without TLS", imported("--from", url, "--from-cacert", "x")...)
	says(exitFailed, "it is one of mimir", imported("--from", url)...) // fetched, and no etcd's
	if _, err := os.Stat(fresh.flags[7] + ".etcd-snapshot"); !os.IsNotExist(err) {
		t.Errorf("what was fetched is left: %v", err)
	}
	says(exitDone, "takes no writes of clients", imported("--from", file, "--follow")...)
	to := fresh.start(t)
	if _, err := write(to, "k"); err == nil || !strings.Contains(err.Error(), "mimir import finish") {
		t.Errorf("a client writes: %v", err)
	}
	says(exitDone, "follows an etcd", "status", "--endpoints", fresh.endpoint)
	if _, err := write(from, "meanwhile"); err != nil {
		t.Fatal(err)
	}
	says(exitFailed, "is mimir import follow running",
		append([]string{"import", "finish", "--fence", "--patience", "1ms"}, both...)...)
	at, err := write(from, "meanwhile") // the fence is gone
	if err != nil {
		t.Fatal(err)
	}

	ctx, stop := context.WithCancel(t.Context())
	var out strings.Builder
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, nil, append([]string{"import", "follow"}, both...), &out, os.Stderr) }()
	defer func() { stop(); <-ended }()
	eventually(t, "it follows", func() bool {
		r, err := to.Get(t.Context(), "meanwhile")
		return err == nil && r.Header.Revision == at && r.Kvs[0].Version == 2
	})
	says(exitDone, fmt.Sprintf("equal at revision %d: 4 keys", at), append([]string{"import", "verify"}, both...)...)
	if at, err = write(from, "more"); err != nil {
		t.Fatal(err)
	}
	says(exitDone, fmt.Sprintf("equal at revision %d: 1 changes behind revision %d", at, at-1),
		append([]string{"import", "finish", "--fence", "--verified", fmt.Sprint(at - 1)}, both...)...)
	if _, err := write(from, "late"); err == nil || !strings.Contains(err.Error(), "corrupt") {
		t.Errorf("the old one takes writes: %v", err)
	}
	if next, err := write(to, "k"); err != nil || next != at+1 {
		t.Errorf("the new one is at %d, %v", next, err)
	}
	select {
	case code := <-ended:
		if ended <- code; code != exitDone || !strings.Contains(out.String(), "the fleet was opened") {
			t.Errorf("whoever followed ended with %d\n%s", code, out.String())
		}
	case <-time.After(30 * time.Second):
		t.Error("somebody follows on")
	}
	says(exitFailed, "was opened already", append([]string{"import", "finish"}, both...)...)
	alarms, err := from.Maintenance.AlarmList(t.Context())
	if err != nil || len(alarms.Alarms) != 1 || alarms.Alarms[0].Alarm != pb.AlarmType_CORRUPT {
		t.Errorf("alarms of the old one: %v, %v", alarms, err)
	}
}
