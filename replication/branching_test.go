package replication_test

import (
	"bytes"
	"io"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// branching is a ledger that makes and takes whole states as files.
type branching struct {
	*ledger
	fs       durable.FS
	installs func(dir string) // is called before a state is installed; nil: nothing is
}

// storage returns the node's ledger, as files if it is to have them.
func (n *testNode) storage(files bool) replication.Storage {
	if files {
		return branching{n.ledger, pebblefs.New(n.disk), n.installs}
	}
	return n.ledger
}

func ledgerFile(dir string) string { return filepath.Join(dir, "ledger") }

// Checkpoint implements replication.Checkpointer.
func (b branching) Checkpoint(dir string) error {
	if err := durable.MakeDir(b.fs, dir); err != nil {
		return err
	}
	view, err := b.Snapshot()
	if err != nil {
		return err
	}
	return durable.WriteFile(b.fs, ledgerFile(dir), func(w io.Writer) error {
		_, err := view.WriteTo(w)
		return err
	})
}

// Install implements replication.Checkpointer.
func (b branching) Install(dir string, meta *replication.Metadata) error {
	if b.installs != nil {
		b.installs(dir)
	}
	content, err := durable.ReadFile(b.fs, ledgerFile(dir))
	if err != nil {
		return err
	}
	return b.Restore(bytes.NewReader(content), meta)
}

// Branch implements replication.Brancher.
func (b branching) Branch(dir string) (replication.Branch, error) {
	side := sideLedger{branching{&ledger{}, b.fs, nil}}
	return side, side.Install(dir, nil)
}

type sideLedger struct{ branching }

// Close implements replication.Branch.
func (sideLedger) Close() error { return nil }
