package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/storagetest"
)

// The engine of the simulation keeps the contract, with a file and without.
func TestTheLedgerKeepsTheContract(t *testing.T) {
	for name, disk := range map[string]func() *vfs.MemFS{
		"file": vfs.NewCrashableMem, "volatile": func() *vfs.MemFS { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			storagetest.Run(t, storagetest.Suite{
				New:     func(t testing.TB) storagetest.Engine { return openLedgerEngine(t, disk()) },
				Command: func(r *rand.Rand) []byte { return fmt.Appendf(nil, "%d", r.IntN(1000)) },

				CrashInside: true,
			})
		})
	}
}

type ledgerEngine struct {
	*ledger
	disk *vfs.MemFS // nil: volatile
}

func openLedgerEngine(t testing.TB, disk *vfs.MemFS) ledgerEngine {
	t.Helper()
	var fs durable.FS
	if disk != nil {
		fs = pebblefs.New(disk)
	}
	l, err := openLedger(fs, "/ledger")
	if err != nil {
		t.Fatal(err)
	}
	return ledgerEngine{l, disk}
}

func (e ledgerEngine) Storage() replication.Storage { return e.ledger }

func (e ledgerEngine) Contents() ([]byte, error) { return []byte(strings.Join(e.items(), "\n")), nil }

func (e ledgerEngine) Crashed(t testing.TB) storagetest.Engine {
	if e.disk == nil {
		return openLedgerEngine(t, nil)
	}
	return openLedgerEngine(t, e.disk.CrashClone(vfs.CrashCloneCfg{}))
}
