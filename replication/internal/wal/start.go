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

// startName is the file that says at which start of its directory the log was last used, so that an older copy of the
// log alone is told from the log by what lies beside it. Logs that former versions used last do not have it.
const startName = "start"

const (
	startMagic   = "MIMIRSTA"
	startVersion = 1
	startBytes   = 64
)

// NoteStart notes, durably, that this is the start of that number of the directory in which the log is.
func (l *Log) NoteStart(start uint64) error {
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

// Start returns the start that was noted last, zero if none was. known is false if what is noted is damaged, of another
// log, or of a version that is not known here: it may be any.
func (l *Log) Start() (start uint64, known bool, err error) {
	name := filepath.Join(l.options.Dir, startName)
	b, err := durable.ReadFile(l.options.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, true, nil
	} else if err != nil {
		return 0, false, fmt.Errorf("wal: read %s: %w", name, err)
	}
	if len(b) != startBytes {
		return 0, false, nil
	}
	start = binary.LittleEndian.Uint64(b[32:])
	if string(b) != string(encodeStart(l.folder.log, start)) {
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
