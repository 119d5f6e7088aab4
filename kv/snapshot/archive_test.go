package snapshot

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func FuzzReadArchive(f *testing.F) {
	f.Add(archiveMagic)
	f.Add(archiveMagic + "\x01\x00\x03\x00\x00\x00\x00\x00\x00\x00axyz\x00\x00")
	f.Fuzz(func(t *testing.T, p string) {
		fs := vfs.NewMem()
		if err := Read(strings.NewReader(p), fs, "dir"); err == nil && !strings.HasPrefix(p, archiveMagic) {
			t.Fatal("accepted")
		}
	})
}
