package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// startName is the file that says at which start of the data directory the log was last used, so that an older copy of
// the log alone is told from the log by what lies beside it. Logs of which only former versions know do not have it.
const startName = "start"

const (
	startMagic   = "MIMIRSTA"
	startVersion = 1
	startBytes   = 64
)

// NoteStart notes, durably, that a log is used at the start of that number of the data directory in which it is.
func NoteStart(l *Log, start uint64) error {
	name := filepath.Join(l.options.Dir, startName)
	err := durable.WriteFile(l.options.FS, name, func(w io.Writer) error {
		_, err := w.Write(encodeStart(l.folder.log, start))
		return err
	})
	if err != nil {
		return fmt.Errorf("wal: note the start in %s: %w", name, err)
	}
	return nil
}

// StartOf returns the start that was noted last, zero if none was. known is false if what is noted is damaged, or of
// another log: it may be any. ErrVersion if it is of a version that is not known here.
func StartOf(l *Log) (start uint64, known bool, err error) {
	name := filepath.Join(l.options.Dir, startName)
	b, err := durable.ReadFile(l.options.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, true, nil
	} else if err != nil {
		return 0, false, fmt.Errorf("wal: read %s: %w", name, err)
	}
	log, start, ok, err := decodeStart(b)
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", name, err)
	}
	if !ok || log != l.folder.log {
		return 0, false, nil
	}
	return start, true, nil
}

func encodeStart(log logID, start uint64) []byte {
	b := make([]byte, 0, startBytes)
	b = append(b, startMagic...)
	b = binary.LittleEndian.AppendUint64(b, startVersion)
	b = append(b, log[:]...)
	b = binary.LittleEndian.AppendUint64(b, start)
	b = append(b, make([]byte, startBytes-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, checksum.Of(b))
}

// decodeStart returns what is noted in b; ok is false if that is not whole.
func decodeStart(b []byte) (log logID, start uint64, ok bool, err error) {
	if len(b) != startBytes || string(b[:8]) != startMagic ||
		binary.LittleEndian.Uint32(b[startBytes-4:]) != checksum.Of(b[:startBytes-4]) {
		return log, 0, false, nil
	}
	if v := binary.LittleEndian.Uint64(b[8:]); v != startVersion {
		return log, 0, false, fmt.Errorf("%w: version %d, this node knows %d; upgrade it", ErrVersion, v, startVersion)
	}
	log, start = logID(b[16:32]), binary.LittleEndian.Uint64(b[32:])
	return log, start, string(b) == string(encodeStart(log, start)), nil
}
