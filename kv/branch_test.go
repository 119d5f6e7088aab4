package kv

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// A branch goes on from where the checkpoint is with revisions, leases and versions, leaves nothing behind, and what a
// power cut leaves of one is gone at the next Open.
func TestABranchGoesOnBesideTheStore(t *testing.T) {
	fs := vfs.NewCrashableMem()
	n := openNode(t, fs)
	n.apply(put("a", "1"), put("b", "1"), grant(7, 60))
	if err := n.Checkpoint("early"); err != nil {
		t.Fatal(err)
	}
	at := n.metadata
	n.apply(put("a", "tail"), del("b", ""))
	before := n.fingerprint()
	b, err := n.Branch("early")
	if err != nil {
		t.Fatal(err)
	}
	meta := &replication.Metadata{AppliedIndex: 1000, Position: at.Position + 1, Epoch: 1, Record: []byte("branched")}
	batch := &replication.Batch{
		Epoch: 1, First: at.Position + 1, Metadata: meta, Commands: []replication.Command{{Data: put("a", "2")}},
	}
	if _, err := b.Apply(batch); err != nil {
		t.Fatal(err)
	}
	if err := b.Checkpoint("later"); err != nil {
		t.Fatal(err)
	}
	crashed := openNode(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}))
	expect(t, "temporary directories after a crash", temporaries(t, crashed.fs), 0)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, "temporary directories after Close", temporaries(t, fs), 0)
	expect(t, "the store beside it", n.fingerprint(), before)
	if err := n.Install("later", nil); err != nil {
		t.Fatal(err)
	}
	expect(t, "in the branch", n.get("a", 0), "2 c2 m4 v2")
	expect(t, "not in the branch", n.get("b", 0), "1 c3 m3 v1")
	if m, err := n.Load(); err != nil || m.AppliedIndex != 1000 || string(m.Record) != "branched" {
		t.Errorf("metadata %+v, %v", m, err)
	}
}

func temporaries(t *testing.T, fs vfs.FS) (n int) {
	t.Helper()
	names, err := fs.List("store")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, temporaryPrefix) {
			n++
		}
	}
	return n
}

// What is no checkpoint, or not whole, is an error, and the store goes on.
func TestABranchOfWhatIsNoCheckpoint(t *testing.T) {
	fs := vfs.NewMem()
	n := openNode(t, fs)
	n.apply(put("a", "1"))
	if err := n.Checkpoint("copy"); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("copy")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST") {
			if err := fs.Remove(fs.PathJoin("copy", name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, dir := range []string{"nothing", "copy"} {
		if _, err := n.Branch(dir); err == nil {
			t.Errorf("a branch of %s", dir)
		}
	}
	expect(t, "temporary directories left", temporaries(t, fs), 0)
	n.apply(put("a", "2"))
	expect(t, "the store", n.get("a", 0), "2 c2 m3 v2")
}
