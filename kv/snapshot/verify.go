package snapshot

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// IsTable reports whether a file of a checkpoint is called as tables are.
func IsTable(name string) bool { return strings.HasSuffix(name, tableSuffix) }

// TableName returns how the file of a table is called.
func TableName(number uint64) string { return fmt.Sprintf("%06d%s", number, tableSuffix) }

// VerifyTable reads one table, every block of it in order, and compares the checksums: mvcc.ErrCorrupt if it is not
// what was written. Older versions of keys have blocks of their own, which Pebble's own check passes over.
func VerifyTable(fs vfs.FS, path string) error {
	all, err := blocksOf(fs, path)
	if err != nil {
		return fmt.Errorf("verify table %s: %w", path, err)
	}
	f, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return fmt.Errorf("verify table: %w", err)
	}
	_, err = io.CopyBuffer(all, f, make([]byte, 1<<20))
	if err = cmp.Or(err, all.end(), f.Close()); err != nil {
		return fmt.Errorf("verify table %s: %w", path, err)
	}
	return nil
}
