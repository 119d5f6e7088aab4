package replication_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
)

// goesBack has the witness vote on the older copy of its directory, which was made before its last start, and returns
// the disk of then. Nobody has asked it yet when between is called.
func (f *smallest) goesBack(between func()) (own *vfs.MemFS) {
	f.t.Helper()
	older := f.disk.CrashClone(vfs.CrashCloneCfg{})
	f.witness.Shutdown()
	f.startWitness()
	f.supported("us-1", "witness/w1", "")
	word, err := f.witness.Word()
	if err != nil {
		f.t.Fatal(err)
	}
	f.within(time.Minute, "eu heard of it", func() bool { return strings.Contains(f.heardFile("eu-1"), word.Boot) })
	f.witness.Shutdown()
	own = f.disk
	f.disk = older
	between()
	f.startWitness()
	return own
}

// heardFile is what a node has on its disk of what it heard.
func (f *smallest) heardFile(name string) string {
	file, err := f.nodes[name].disk.Open("/data/HEARD")
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	text := make([]byte, 64<<10)
	n, _ := file.Read(text)
	return string(text[:n])
}

// supported waits until the primary says of a voter what keeps it from supporting it; "": nothing.
func (f *smallest) supported(node, voter, problem string) {
	f.t.Helper()
	f.within(time.Minute, voter+" supports, or says "+problem, func() bool {
		s := f.nodes[node].Voting().Status()
		for _, v := range s.Voters {
			if v.ID == voter {
				return v.Supports && v.Problem == "" && problem == "" || problem != "" &&
					strings.Contains(v.Problem, problem)
			}
		}
		return false
	})
}

const foundOut = "its directory is an older copy, or lost what it held"

// TestAWitnessThatWentBackIsFoundOut by the primary that heard of what it has forgotten: it supports nobody any more,
// also when it is started again, status says why, and it is replaced as if it were lost. On its own disk it votes.
func TestAWitnessThatWentBackIsFoundOut(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		own := f.goesBack(func() {})
		f.supported("us-1", "witness/w1", foundOut)
		f.witness.Shutdown()
		f.startWitness()
		if f.witness.Lost() == nil {
			t.Error("after another start it does not know it any more")
		}
		f.within(time.Minute, "status warns", func() bool {
			return strings.Contains(strings.Join(f.nodes["eu-1"].Fleet(f.t.Context()).Warnings, " "), foundOut)
		})
		f.witness.Shutdown()
		f.disk = own
		f.startWitness()
		f.supported("us-1", "witness/w1", "")
		f.witness.Shutdown()
		f.disk = freshDisk()
		f.startWitnessAs("w2")
		f.changes(replication.VoteChange{Remove: "witness/w1", Witness: "w2", Addrs: []string{"w2"}})
		f.kill("us-1")
		f.putAfter("eu-1", "c1")
	})
}

// TestAWitnessThatWentBackIsFoundOutByOthers: whoever heard it itself is gone, and told the others before. These ask it
// for no vote that it might have given already.
func TestAWitnessThatWentBackIsFoundOutByOthers(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.goesBack(func() {
			f.kill("us-1")
			f.kill("eu-1") // what it was told outlasts it
			f.start("eu-1")
		})
		f.within(time.Minute, "it is found out", func() bool { return f.witness.Lost() != nil })
		if r, err := f.tryPut("eu-1", "c1", 20*time.Second); err == nil {
			t.Errorf("eu took over with its vote: %+v", r)
		}
		f.saysWhy("eu-1", foundOut)
		f.start("us-1")
		f.putAfter("us-1", "c2")
	})
}
