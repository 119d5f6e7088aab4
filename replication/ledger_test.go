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

	broken  atomic.Pointer[error]  // what a Sync says; nil: that nothing is kept
	replace atomic.Pointer[func()] // is called before the content is replaced
}

type ledgerState struct {
	Commands []string
	Reigns   []replication.Reign
	Meta     *replication.Metadata
}

// ledgerHead is what stands before the commands in a state.
type ledgerHead struct {
	Lengths []int // of the commands
	Reigns  []replication.Reign
	Meta    *replication.Metadata
}

// encode copies every command once: states are made often, and are large.
func (s *ledgerState) encode() ([]byte, error) {
	head := ledgerHead{Reigns: s.Reigns, Meta: s.Meta}
	size := 4 << 10
	for _, c := range s.Commands {
		head.Lengths = append(head.Lengths, len(c))
		size += len(c) + 4
	}
	var b bytes.Buffer
	b.Grow(size)
	if err := gob.NewEncoder(&b).Encode(head); err != nil {
		return nil, err
	}
	for _, c := range s.Commands {
		b.WriteString(c)
	}
	return b.Bytes(), nil
}

func decodeLedger(r io.Reader) (s ledgerState, err error) {
	p, err := io.ReadAll(r)
	if err != nil {
		return s, err
	}
	rest := bytes.NewReader(p)
	var head ledgerHead
	if err := gob.NewDecoder(rest).Decode(&head); err != nil {
		return s, err
	}
	text := string(p[len(p)-rest.Len():])
	for _, n := range head.Lengths {
		if n < 0 || n > len(text) {
			return s, fmt.Errorf("a command of %d bytes in the last %d of a state", n, len(text))
		}
		s.Commands = append(s.Commands, text[:n])
		text = text[n:]
	}
	if text != "" {
		return s, fmt.Errorf("%d bytes behind a state", len(text))
	}
	s.Reigns, s.Meta = head.Reigns, head.Meta
	return s, nil
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

func (l *ledger) Sync() error {
	if broken := l.broken.Load(); broken != nil {
		return *broken
	}
	return replication.ErrVolatile
}

func (l *ledger) Snapshot() (replication.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.held.encode()
	return replication.SnapshotBytes(p), err
}

func (l *ledger) Restore(r io.Reader, meta *replication.Metadata) error {
	s, err := decodeLedger(r)
	if err != nil {
		return err
	}
	if meta != nil {
		s.Meta = meta
	}
	if replace := l.replace.Load(); replace != nil {
		(*replace)()
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
