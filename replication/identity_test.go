package replication

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/recall"
)

func writeText(t *testing.T, fs durable.FS, path string, text []byte) {
	t.Helper()
	err := durable.WriteFile(fs, path, func(w io.Writer) error { _, err := w.Write(text); return err })
	if err != nil {
		t.Fatal(err)
	}
}

// Whichever bit of an identity is flipped, and wherever it is cut, it is this node's as before or damaged, and never
// another node's or of another version.
func TestAWrongBitMakesNoOtherIdentity(t *testing.T) {
	fs := pebblefs.New(vfs.NewMem())
	c := &Config{FleetID: "mimir", RegionID: "us", NodeID: "us-1", DataDir: "/data", FS: fs}
	if err := durable.MakeDir(fs, c.DataDir); err != nil {
		t.Fatal(err)
	}
	born := recall.Part{Formed: map[uint64]string{7: "a", 8: "b"}, Left: []uint64{9}}
	if err := markDirectory(fs, c, born); err != nil {
		t.Fatal(err)
	}
	path := c.path(identityFile)
	whole, err := durable.ReadFile(fs, path)
	if err != nil {
		t.Fatal(err)
	}
	harmless := 0
	try := func(text []byte, what string, at int) {
		writeText(t, fs, path, text)
		switch found, err := claimDirectory(fs, c); {
		case found.fresh:
			t.Errorf("%s %d: taken for an empty directory", what, at)
		case err == nil:
			harmless++
		case !errors.Is(err, ErrDamaged) || errors.Is(err, ErrIdentity):
			t.Errorf("%s %d: %v\n%s", what, at, err, text)
		}
	}
	for i := range len(whole) * 8 {
		text := bytes.Clone(whole)
		text[i/8] ^= 1 << (i % 8)
		try(text, "bit", i)
	}
	if most := 8 * (len(`,"sum":""`) + 1); harmless > most { // of the mark alone
		t.Errorf("%d wrong bits were not noticed, at most %d can be", harmless, most)
	}
	for n := range len(whole) - 1 {
		try(whole[:n], "cut at", n)
	}
	old := []byte(`{"version":1,"fleet":"mimir","region":"us","node":"us-1","raftID":18427803972798480272}` + "\n")
	old = bytes.Replace(old, []byte("18427803972798480272"), whole[bytes.Index(whole, []byte(`"raftID":`))+9:][:20], 1)
	writeText(t, fs, path, old)
	if found, err := claimDirectory(fs, c); !reflect.DeepEqual(found, claim{}) || err != nil {
		t.Errorf("an identity of before: %+v, %v", found, err)
	}
}
