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
	fs    durable.FS
	path  string
	log   logID
	found termRun // by check; none: 0

	mu   sync.Mutex
	file durable.File // nil before the first note, and at the end
	last uint64       // is known to be committed
}

// NoteCommitted notes, not durably, that the log is committed up to this entry, which it holds: a HardState that says
// less says so after the next Open.
func (c *committed) NoteCommitted(index, term uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if index <= c.last {
		return nil
	}
	if c.file == nil {
		file, err := c.fs.OpenReadWrite(c.path)
		if err != nil {
			return fmt.Errorf("wal: note what is committed: %w", err)
		}
		c.file = file
	}
	if _, err := c.file.WriteAt(encodeCommitted(c.log, index, term), 0); err != nil {
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

// of makes it the note of l, which knows which log it is.
func (c *committed) of(l *Log) {
	c.fs, c.path, c.log = l.options.FS, filepath.Join(l.options.Dir, committedName), l.folder.log
}

// check reads the note. What is noted was durable here before it was applied: a log whose newest segment s ends before
// that has lost it, and is ErrCorrupt. A note that is torn, of another log, or of a version that is not known here, is
// none: less is known then.
func (c *committed) check(l *Log, s *segment) error {
	c.of(l)
	b, err := durable.ReadFile(c.fs, c.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("wal: read what is noted as committed: %w", err)
	}
	if len(b) < committedBytes {
		return nil
	}
	b = b[:committedBytes] // what a power cut left behind it is no part of it, and stays
	index, term := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
	if string(b) != string(encodeCommitted(c.log, index, term)) {
		return nil
	}
	if index > s.last {
		return s.corrupt(s.end, "the log ends here, with entry %d, and entry %d of term %d was committed: what came "+
			"between is lost with what this node acknowledged of it; remove the node and add it anew, or, if nobody "+
			"else has it either and it is to be given up, take away %s", s.last, index, term, c.path)
	}
	c.found = termRun{index, term}
	return nil
}

// take raises the commit of the hard state of l to what check found, if that is an entry of this log.
func (c *committed) take(l *Log) {
	state, index := l.writer.state, c.found.index
	if term, err := l.Term(index); state != nil && err == nil && term == c.found.term && index > state.GetCommit() {
		l.writer.state = newHardState(state.GetTerm(), state.GetVote(), index)
	}
	c.last = l.writer.state.GetCommit()
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
