//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/mimir-kv/mimir/backup/schedule"
	"github.com/mimir-kv/mimir/kv/mvcc"
	"github.com/mimir-kv/mimir/replication"
)

// What a disk made of a value, whatever its checksums say, is found by comparing the nodes.
func TestVerify(t *testing.T) {
	f, out, _ := startDev(t, "--regions", "us,eu", "--nodes", "1")
	us, eu := f.Regions[0].Nodes[0], f.Regions[1].Nodes[0]
	dir := filepath.Dir(filepath.Dir(us.DataDir))
	both := us.Client + "," + eu.Client
	for _, key := range []string{"a", "b", "c"} {
		put(t, us.Client, key)
	}
	eventually(t, "eu has all of it", func() bool { return status(t, us.Client).region("eu").Position == 3 })
	if code, text, errs := mimir(t, "verify", "--endpoints", both); code != exitDone ||
		!strings.Contains(text, "eu-1, us-1 hold the same at revision 4: 3 keys") ||
		!strings.Contains(text, "eu-1, us-1 have the same 0 leases, users and alarms at position ") {
		t.Fatalf("%d %s%s", code, text, errs)
	}
	syscall.Kill(eu.PID, syscall.SIGTERM)
	eventually(t, "eu-1 has ended", func() bool { return strings.Contains(out.String(), "eu-1 (pid") })
	if code, text, _ := mimir(t, "verify", "--endpoints", us.Client); code != exitFailed ||
		!strings.Contains(text, "no two nodes") && text != "" {
		t.Errorf("one alone: %d %s", code, text)
	}
	if err := damage(eu.DataDir, "b"); err != nil {
		t.Fatal(err)
	}
	if code, text, errs := mimir(t, "dev", "heal", "--data-dir", dir); code != exitDone {
		t.Fatalf("%d %s%s", code, text, errs)
	}
	eventually(t, "the difference is found", func() bool {
		code, text, errs := mimir(t, "verify", "--endpoints", both)
		return code == exitFailed && strings.Contains(text, "DIFFER in 1 of 1 parts") &&
			strings.Contains(text, `from "b" up to before "c"`) && strings.Contains(errs, "nodes hold different things")
	})
	if code, text, errs := mimir(t, "verify", "--endpoints", both, "--prefix", "c"); code != exitDone {
		t.Errorf("of what is whole: %d %s%s", code, text, errs)
	}
}

// damage changes what the store in a data directory, which nobody uses, holds of a key.
func damage(dataDir, key string) (err error) {
	markers, _ := filepath.Glob(filepath.Join(dataDir, "kv", "*", "marker.manifest.*"))
	if len(markers) != 1 {
		return errors.New("no database")
	}
	db, err := pebble.Open(filepath.Dir(markers[0]), &pebble.Options{Comparer: mvcc.Comparer,
		FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Flush(), db.Close()) }()
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if !bytes.HasPrefix(it.Key(), []byte("K"+key+"\x00")) {
			continue
		}
		value := bytes.Clone(it.Value())
		value[len(value)-1] ^= 1
		return db.Set(bytes.Clone(it.Key()), value, pebble.NoSync)
	}
	return errors.New("no such key")
}

// A list of backups says where they are of several histories: what is newest may be of one that has nothing.
func TestBackupsOfSeveralHistories(t *testing.T) {
	dir := t.TempDir()
	list := func(history string) string {
		t.Helper()
		name := schedule.Name("f", "us", "us-1", history, time.Now())
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 544), 0o600); err != nil {
			t.Fatal(err)
		}
		_, out, _ := mimir(t, "snapshot", "list", "file://"+dir, "--fleet", "f")
		return out
	}
	if out := list("") + list("01ab"); strings.Contains(out, "histories") {
		t.Error(out)
	}
	if out := list("02cd"); !strings.Contains(out, "they are of 2 histories") || !strings.Contains(out, "@02cd.mimir") {
		t.Error(out)
	}
}

// A node of another life of its region is not compared: it would hold the comparison to what little it has.
func TestAnotherLifeIsNotVerified(t *testing.T) {
	fleet := &replication.FleetStatus{Regions: []replication.RegionStatus{{Name: "us", Nodes: []replication.NodeStatus{
		{Name: "us-3", OtherLife: true, ClientURLs: []string{"http://127.0.0.1:1"}},
	}}}}
	nodes, standings, missing := standingsOf(t.Context(), nil, fleet)
	if len(nodes)+len(standings) > 0 || len(missing) != 1 || missing[0].Node != "us-3" ||
		!strings.Contains(missing[0].Why, "another life") {
		t.Errorf("%v, %v, %v", nodes, standings, missing)
	}
}
