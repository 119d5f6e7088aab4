package copies

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

// VerifyFile reads a file of a copy in dir, by its name there, perhaps before all of the copy is there. Error:
// ErrDamaged if it is not what its storage wrote, as far as the file and storage, which is one of the same kind, can
// tell.
func VerifyFile(storage contract.Storage, dir, name string) error {
	v, ok := storage.(contract.Verifier)
	if file, own := strings.CutPrefix(name, contentsFolder+"/"); ok && own {
		return v.VerifyFile(Contents(dir), file)
	}
	return nil
}

// Verify returns an error if the copy in dir cannot be put back: ErrDamaged if it is not what was written (C5). What
// VerifyFile reads is not read again, but for a stream.
func Verify(fs durable.FS, storage contract.Storage, dir string) error {
	if _, err := ReadMetadata(fs, dir); errors.Is(err, contract.ErrMetadata) {
		return fmt.Errorf("%w: %s: %w", contract.ErrDamaged, dir, err)
	}
	if _, ok := storage.(contract.Checkpointer); !ok {
		return verify(fs, dir)
	}
	if v, ok := storage.(contract.Verifier); ok {
		return v.Verify(Contents(dir))
	}
	return nil
}
