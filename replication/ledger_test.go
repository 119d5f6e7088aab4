package replication_test

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mimir-kv/mimir/replication"
)

// ledger is a volatile storage that remembers every command and every beginning of an epoch.
type ledger struct {
	mu    sync.Mutex
	held  ledgerState
	hangs atomic.Pointer[chan struct{}] // what is applied waits for it; nil: for nothing
}

type ledgerState struct {
	Commands []string
	Reigns   []replication.Reign
	Meta     *replication.Metadata
}

func (l *ledger) Load() (*replication.Metadata, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.Meta, nil
}

func (l *ledger) Apply(b *replication.Batch) ([][]byte, error) {
	if hangs := l.hangs.Load(); hangs != nil {
		<-*hangs
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var results [][]byte
	for i, c := range b.Commands {
		if int(b.First)+i != len(l.held.Commands)+1 {
			return nil, fmt.Errorf("position %d after %d commands", int(b.First)+i, len(l.held.Commands))
		}
		l.held.Commands = append(l.held.Commands, string(c.Data))
		results = append(results, []byte("did "+string(c.Data)))
	}
	l.held.Meta = b.Metadata
	return results, nil
}

func (l *ledger) Begin(r replication.Reign, meta *replication.Metadata) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held.Reigns = append(l.held.Reigns, r)
	l.held.Meta = meta
	return nil
}

func (l *ledger) Sync() error { return replication.ErrVolatile }

func (l *ledger) Snapshot() (replication.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(l.held)
	return replication.SnapshotBytes(b.Bytes()), err
}

func (l *ledger) Restore(r io.Reader, meta *replication.Metadata) error {
	var s ledgerState
	if err := gob.NewDecoder(r).Decode(&s); err != nil {
		return err
	}
	if meta != nil {
		s.Meta = meta
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = s
	return nil
}

func (l *ledger) commands() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.held.Commands)
}

func (l *ledger) begun() []replication.Reign {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.held.Reigns)
}

func (l *ledger) equal(o *ledger) bool {
	a, b := l.commands(), o.commands()
	return slices.Equal(a, b)
}
