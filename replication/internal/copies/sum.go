package copies

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// sumFile says what StreamFile holds. Copies of former versions have none. The name is on disk: never change it.
const sumFile = "STREAM-SUM"

const (
	sumMagic   = "MSUM"
	sumVersion = 1
	sumBytes   = 4 + 4 + 8 + sha256.Size + 4
)

// summed is a writer that sums what goes through it.
type summed struct {
	io.Writer
	bytes uint64
	hash  hash.Hash
}

func newSummed(w io.Writer) *summed { return &summed{Writer: w, hash: sha256.New()} }

func (s *summed) Write(p []byte) (int, error) {
	s.hash.Write(p) // first: Pebble's filesystem in memory spoils what it is given, where it looks for misuse
	s.bytes += uint64(len(p))
	return s.Writer.Write(p)
}

// encode returns the content of sumFile.
func (s *summed) encode() []byte {
	p := append([]byte(sumMagic), sumVersion, 0, 0, 0)
	p = binary.LittleEndian.AppendUint64(p, s.bytes)
	p = s.hash.Sum(p)
	return binary.LittleEndian.AppendUint32(p, checksum.Of(p))
}

// verify reads the stream in the copy in dir and returns an error, ErrDamaged if it is not what was written (C5). A
// copy without a sum is taken as it is.
func verify(fs durable.FS, dir string) error {
	want, err := durable.ReadFile(fs, filepath.Join(dir, sumFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	name := filepath.Join(dir, sumFile)
	body := len(want) - 4
	switch {
	case len(want) != sumBytes || string(want[:4]) != sumMagic ||
		binary.LittleEndian.Uint32(want[body:]) != checksum.Of(want[:body]):
		return fmt.Errorf("%w: %s is not what was written", contract.ErrDamaged, name)
	case want[4] != sumVersion:
		return fmt.Errorf("%s has version %d, this node knows %d; upgrade it", name, want[4], sumVersion)
	}
	stream := filepath.Join(Contents(dir), StreamFile)
	f, err := fs.Open(stream)
	if err != nil {
		return err
	}
	defer f.Close()
	got := newSummed(io.Discard)
	if _, err := io.Copy(got, f); err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	if string(got.encode()) != string(want) {
		return fmt.Errorf("%w: %s is not what was written", contract.ErrDamaged, stream)
	}
	return nil
}
