package recall

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/clock/virtual"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

var quiet = slog.New(slog.DiscardHandler)

// TestWhatWasHeardOutlastsTheProcess, also of a node that lives on: what its process says is not said by one before it.
func TestWhatWasHeardOutlastsTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "HEARD")
	m := recollected(t, durable.OS, path, quiet)
	m.Note(5, Said{Disk{"a", 1, "x"}, 7, ""})
	m.Note(5, Said{Disk{"a", 2, "y"}, 9, ""})
	m.Note(6, Said{Disk{"b", 4, "z"}, 3, ""})
	m.Save()
	m = recollected(t, durable.OS, path, quiet)
	for _, c := range []struct {
		id   uint64
		of   Disk
		want Seen
	}{
		{5, Disk{"a", 3, "new"}, Seen{2, 9}}, {5, Disk{"a", 2, "y"}, Seen{1, 7}}, {6, Disk{"b", 4, "z"}, Seen{}},
		{6, Disk{"b", 4, "new"}, Seen{4, 3}}, {6, Disk{"c", 1, "new"}, Seen{}}, {7, Disk{"a", 1, "new"}, Seen{}},
	} {
		if got, _ := m.Before(c.id, c.of); got != c.want {
			t.Errorf("%d with %+v: %+v, want %+v", c.id, c.of, got, c.want)
		}
	}
}

// TestADamagedMemoryIsNone, and it is said.
func TestADamagedMemoryIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "HEARD")
	m := recollected(t, durable.OS, path, quiet)
	m.Note(5, Said{Disk{"a", 1, "x"}, 7, ""})
	m.Save()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range bytes.TrimSpace(whole) {
		c := bytes.Clone(whole)
		c[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, c, 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		m := recollected(t, durable.OS, path, slog.New(slog.NewTextHandler(&said, nil)))
		got, _ := m.Before(5, Disk{"a", 2, "y"})
		if got != (Seen{}) && got != (Seen{1, 7}) || got == (Seen{}) && !strings.Contains(said.String(), path) {
			t.Fatalf("byte %d changed, %s: remembers %+v, says %q", i, c, got, said.String())
		}
	}
}

// TestAMemoryOfANewerVersionStays: its version may be put back, and counts on it.
func TestAMemoryOfANewerVersionStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "HEARD")
	text := append(checksum.Seal([]byte(`{"version":2,"nodes":{}}`)), '\n')
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Remember(durable.OS, path, quiet); !errors.Is(err, contract.ErrNewer) ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, text) {
		t.Errorf("%s, %v", now, err)
	}
}

// TestAMemoryIsSavedRarely: a disk or a start that is new within a second or two, a log that grows every ten.
func TestAMemoryIsSavedRarely(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashableMem()
		m := recollected(t, pebblefs.New(disk), "/HEARD", quiet)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { m.Run(ctx, clock.Real); close(done) }()
		saved := func() Seen {
			left := pebblefs.New(disk.CrashClone(vfs.CrashCloneCfg{}))
			s, _ := recollected(t, left, "/HEARD", quiet).Before(5, Disk{"a", 9, "new"})
			return s
		}
		m.Note(5, Said{Disk{"a", 1, "x"}, 1, ""})
		time.Sleep(2 * time.Second)
		if got := saved(); got != (Seen{1, 1}) {
			t.Errorf("after a start that is new: %+v", got)
		}
		writes := 0
		for i, last := uint64(2), saved(); i < 62; i++ {
			m.Note(5, Said{Disk{"a", 1, "x"}, i, ""})
			time.Sleep(time.Second)
			if now := saved(); now != last {
				writes, last = writes+1, now
			}
		}
		if got := saved(); writes < 5 || writes > 7 || got.Index < 50 {
			t.Errorf("in a minute saved %d times, the last time %+v", writes, got)
		}
		cancel()
		<-done
		m.Save()
		if got := saved(); got != (Seen{1, 61}) {
			t.Errorf("at the end %+v", got)
		}
	})
}
