package recall

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

func TestStartsAreCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "DISK")
	var before Disk
	for i := range uint64(3) {
		d, err := Start(durable.OS, path)
		if err != nil {
			t.Fatal(err)
		}
		if d.Starts != i+1 || d.Boot == before.Boot || i > 0 && d.ID != before.ID {
			t.Errorf("start %d: %+v after %+v", i+1, d, before)
		}
		before = d
	}
}

func TestADamagedCountIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "DISK")
	if _, err := Start(durable.OS, path); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for i := range len(whole) * 8 { // a wrong bit is no other count, but for those in the mark of the checksum
		text := bytes.Clone(whole)
		text[i/8] ^= 1 << (i % 8)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := read(durable.OS, path); err == nil && f.Starts == 1 {
			taken++
		} else if !errors.Is(err, contract.ErrDiskLost) {
			t.Errorf("bit %d: %v\n%s", i, err, text)
		}
	}
	if most := 8 * (len(`,"sum":""`) + 1); taken > most {
		t.Errorf("%d wrong bits were not noticed, at most %d can be", taken, most)
	}
	for text, want := range map[string]error{
		"":                                    contract.ErrDiskLost,
		"{}":                                  contract.ErrDiskLost,
		"{\"version\":1,\"disk\":\"a\"}":      contract.ErrDiskLost,
		`{"version":9,"disk":"a","starts":4}`: contract.ErrIdentity,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Start(durable.OS, path); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
