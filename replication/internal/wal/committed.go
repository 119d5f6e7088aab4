package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// committedName is the file that says up to which entry the log is committed. A hard state that says so comes to the
// log behind whatever is being synced, while what is committed is applied and shown already: without the note a process
// that was killed would show less after its next start, until its region tells it again. It is not synced, as the hard
// states are not that say no more.
const committedName = "committed"

const (
	committedMagic   = "MIMIRCOM"
	committedVersion = 1
	committedBytes   = 64
)

// committed is the note. Its entry is named by index and term, so that it is never taken for another one.
type committed struct {
	mu   sync.Mutex
	file durable.File // nil before the first note, and at the end
	last uint64       // is known to be committed
}

// NoteCommitted notes, not durably, that the log is committed up to this entry, which it holds: a HardState that says
// less says so after the next Open.
func (l *Log) NoteCommitted(index, term uint64) error {
	c := &l.committed
	c.mu.Lock()
	defer c.mu.Unlock()
	if index <= c.last {
		return nil
	}
	if c.file == nil {
		file, err := l.options.FS.OpenReadWrite(filepath.Join(l.options.Dir, committedName))
		if err != nil {
			return fmt.Errorf("wal: note what is committed: %w", err)
		}
		c.file = file
	}
	if _, err := c.file.WriteAt(encodeCommitted(l.folder.log, index, term), 0); err != nil {
		return fmt.Errorf("wal: note what is committed: %w", err)
	}
	c.last = index
	return nil
}

func encodeCommitted(log logID, index, term uint64) []byte {
	b := make([]byte, 0, committedBytes)
	b = append(b, committedMagic...)
	b = binary.LittleEndian.AppendUint64(b, committedVersion)
	b = append(b, log[:]...)
	b = binary.LittleEndian.AppendUint64(b, index)
	b = binary.LittleEndian.AppendUint64(b, term)
	b = append(b, make([]byte, committedBytes-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, checksum.Of(b))
}

// takeCommitted raises the commit of the hard state to what is noted, if that is an entry of this log. A note that is
// torn, or of a version that is not known here, is none: less is known then.
func (l *Log) takeCommitted() error {
	state := l.writer.state
	b, err := durable.ReadFile(l.options.FS, filepath.Join(l.options.Dir, committedName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("wal: read what is noted as committed: %w", err)
	}
	if state != nil && len(b) == committedBytes {
		index, term := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
		whole := string(b) == string(encodeCommitted(l.folder.log, index, term))
		if known, err := l.Term(index); whole && err == nil && known == term && index > state.GetCommit() {
			l.writer.state = newHardState(state.GetTerm(), state.GetVote(), index)
		}
	}
	l.committed.last = l.writer.state.GetCommit()
	return nil
}

func (c *committed) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file = nil
	return err
}
