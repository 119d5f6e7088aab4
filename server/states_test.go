package server

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// TestASavedStateIsCompared with what this node held at a revision.
func TestASavedStateIsCompared(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	history := func(values ...string) *kv.Store {
		s, err := kv.Open(kv.Options{Dir: t.TempDir(), Logger: logger})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if _, err := s.Load(); err != nil {
			t.Fatal(err)
		}
		b := &replication.Batch{First: 1, Metadata: &replication.Metadata{AppliedIndex: 1, Epoch: 1}}
		for _, v := range values {
			b.Metadata.Position++
			p := command.EncodePut(&pb.PutRequest{Key: []byte("k"), Value: []byte(v)})
			b.Commands = append(b.Commands, replication.Command{Data: p})
		}
		if _, err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
		return s
	}
	saved := filepath.Join(t.TempDir(), "saved")
	if err := history("shared", "lost", "end").Checkpoint(saved); err != nil {
		t.Fatal(err)
	}
	today := savedStates{history("shared", "today", "end", "more"), nil, logger}
	for rev, want := range map[int64]bool{2: true, 3: false} {
		if same, err := today.Same(t.Context(), saved, rev); err != nil || same != want {
			t.Errorf("at %d: %t, %v", rev, same, err)
		}
	}
	if _, err := today.Same(t.Context(), saved, 5); !errors.Is(err, command.ErrFutureRevision) {
		t.Errorf("behind its end: %v", err)
	}
}
