package wal

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
)

// maxZeroAheadBytes is how far a segment that was not used before is filled with zeros ahead of the records, so that
// most appends overwrite blocks the file has, and their sync need not commit metadata.
const maxZeroAheadBytes = 4 << 20

var zeros [256 << 10]byte

// writer is the state of the appender.
type writer struct {
	failed  error
	buffer  []byte // records encoded but not yet synced
	written int    // so much of the buffer is written
	offset  int64  // in the newest segment, where the rest of the buffer goes
	size    int64  // of the newest segment's file
	synced  int64  // the newest segment is durable up to here
	dirty   bool   // something was written since the last sync
	marked  bool   // the log ends with a mark
	last    uint64 // the last entry, those in the buffer included
	pending []run  // the entries in the buffer
	state   *raftpb.HardState
	segment uint64 // number of the newest segment

	patience patience
}

// end is where the next record goes.
func (w *writer) end() int64 { return w.offset + int64(w.staged()) }

// staged returns how much waits to be written.
func (w *writer) staged() int { return len(w.buffer) - w.written }

// put writes what is staged.
func (w *writer) put(file durable.File) error {
	if w.staged() == 0 {
		return nil
	}
	if _, err := file.WriteAt(w.buffer[w.written:], w.offset); err != nil {
		return err
	}
	w.offset, w.written, w.dirty = w.end(), len(w.buffer), true
	return nil
}

// sync makes durable what is written. Where the disk finds only now that it has no room, nobody knows what of it is
// there, and no later sync tells: all of it is to be written anew.
func (w *writer) sync(file durable.File) error {
	if err := file.SyncData(); durable.Full(err) {
		w.offset, w.written = w.offset-int64(w.written), 0
		return err
	} else if err != nil {
		return err
	}
	w.synced, w.dirty = w.offset, false
	w.forget()
	return nil
}

// forget empties the buffer.
func (w *writer) forget() {
	if w.written, w.buffer = 0, w.buffer[:0]; cap(w.buffer) > 2*maxBufferBytes {
		w.buffer = nil
	}
}

// stage encodes a record into the buffer.
func (w *writer) stage(r record) {
	r.synced = w.synced
	w.buffer = appendRecord(w.buffer, w.segment, w.end(), r)
	w.marked = r.kind == kindMark
}

// aheadShare is how much more than what is laid out ahead has to be free, so that what is left is for records, and for
// the store.
const aheadShare = 4

// zeroAhead fills the newest segment beyond its records, up to limit, when its file has been used up. Where there is
// little room for that, records may still fit.
func (w *writer) zeroAhead(file durable.File, limit int64, free func() (uint64, bool)) error {
	if w.offset <= w.size {
		return nil
	}
	w.size = w.offset
	target := min(w.offset+min(maxZeroAheadBytes, limit/16), limit)
	if bytes, ok := free(); ok && target > w.size && bytes < aheadShare*uint64(target-w.size) {
		return nil
	}
	for w.size < target {
		n, err := file.WriteAt(zeros[:min(int64(len(zeros)), target-w.size)], w.size)
		w.size += int64(n)
		if durable.Full(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
