package recall

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

func TestStartsAreCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "DISK")
	var before Own
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
		`{"version":9,"disk":"a","starts":4}`: contract.ErrNewer,
		`{"version":9}`:                       contract.ErrNewer,
		`{"version":1,"disk":"a","starts":4,"sum":"00000000"}`: contract.ErrDiskLost,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Start(durable.OS, path); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestADiskThatWasGivenUpIsRefusedForGood, by every start after, with the reason and the way out, until an operator
// takes it for another disk. Whatever bit changes, it does not start again.
func TestADiskThatWasGivenUpIsRefusedForGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "DISK")
	first, err := Start(durable.OS, path)
	if err != nil {
		t.Fatal(err)
	}
	why := fmt.Errorf("%w: us-2 has heard of start 9", contract.ErrDiskLost)
	if err := GiveUp(durable.OS, path, why); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := Start(durable.OS, path)
		if !errors.Is(err, contract.ErrDiskLost) ||
			!strings.Contains(err.Error(), "again: us-2 has heard of start 9.") ||
			!strings.Contains(err.Error(), "under a new name with an empty data directory") {
			t.Errorf("says %v", err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		c := bytes.Clone(whole)
		c[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, c, 0o600); err != nil {
			t.Fatal(err)
		}
		if d, err := Start(durable.OS, path); err == nil {
			t.Fatalf("byte %d changed: starts as %+v with %s", i, d, c)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if d, err := Start(durable.OS, path); err != nil || d.ID == first.ID || d.Starts != 1 {
		t.Errorf("as another disk: %+v, %v", d, err)
	}
}

// TestAFileOfTheVersionBefore has no sum.
func TestAFileOfTheVersionBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "DISK")
	if err := os.WriteFile(path, []byte(`{"version":1,"disk":"a","starts":4}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := Start(durable.OS, path); err != nil || d.ID != "a" || d.Starts != 5 {
		t.Errorf("%+v, %v", d, err)
	}
}
