package enginetest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/storagetest"
)

// replica is an engine as the suite sees it.
type replica struct {
	disk  *vfs.MemFS // nil: it keeps nothing
	files bool
	e     *Engine
	dirs  int
}

func open(t testing.TB, disk *vfs.MemFS, files bool) *replica {
	r := &replica{disk: disk, files: files, e: Volatile()}
	if disk == nil {
		return r
	}
	var err error
	if r.e, err = Open(pebblefs.New(disk), "/engine"); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *replica) Storage() contract.Storage {
	if r.files {
		return Files{r.e}
	}
	return r.e
}

func (r *replica) Contents() ([]byte, error) {
	c := r.e.Content()
	return json.Marshal([]any{c.Commands, c.Reigns})
}

func (r *replica) Crashed(t testing.TB) storagetest.Engine {
	if r.disk == nil {
		return open(t, nil, false)
	}
	return open(t, r.disk.CrashClone(vfs.CrashCloneCfg{}), r.files)
}

func (r *replica) NewDir() string {
	r.dirs++
	return fmt.Sprintf("/dir-%d", r.dirs)
}

func (r *replica) FS() durable.FS { return pebblefs.New(r.disk) }

func (r *replica) Close() error { return nil }

func TestEnginesKeepTheContract(t *testing.T) {
	for name, make := range map[string]func(t testing.TB) storagetest.Engine{
		"volatile":    func(t testing.TB) storagetest.Engine { return open(t, nil, false) },
		"one file":    func(t testing.TB) storagetest.Engine { return open(t, vfs.NewCrashableMem(), false) },
		"checkpoints": func(t testing.TB) storagetest.Engine { return open(t, vfs.NewCrashableMem(), true) },
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, storagetest.Suite{New: make, Command: func(r *rand.Rand) []byte {
				return fmt.Appendf(nil, "command %d", r.IntN(1000))
			}, CrashInside: true})
		})
	}
}
