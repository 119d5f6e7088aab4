package wal

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
)

// maxBufferBytes is where an append that is still being encoded is written out, and what is kept for the next one.
const maxBufferBytes = 4 << 20

// maxUnsyncedBytes is how much is written without a sync at most: it is kept, so that it can be written anew.
const maxUnsyncedBytes = 16 << 20

// Write is one step of an Append: the hard state first, then the entries. Either may be missing.
type Write struct {
	HardState *raftpb.HardState
	Entries   []*raftpb.Entry
}

// run is entries whose records follow each other, the first at offset.
type run struct {
	entries []*raftpb.Entry
	offset  int64
}

// Append writes ws in order and, if sync, makes it durable, together with everything appended before, by one fdatasync
// (more only where a segment ends, and after each 16 MiB). Entries must continue the log or overwrite a suffix of it,
// which cuts the rest; otherwise the error is ErrOrder. Hard state and entries belong to the log from then on and must
// not be changed.
//
// Readers see entries once they are written; with sync, and unless the append is larger than 4 MiB, once they are
// durable. After a crash any prefix of an append that did not return may be there. After an error of the disk every
// later call fails with it, wrapped in ErrFailed; that there is no room is one, unless somebody waits for it: see
// [WaitForRoom].
func (l *Log) Append(ws []Write, sync bool) error {
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.check(ws); err != nil {
		return err
	}
	for _, w := range ws {
		if err := l.write(w); err != nil {
			return l.fail(err)
		}
	}
	return l.fail(l.flush(sync))
}

func (l *Log) usable() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return ErrClosed
	}
	return l.writer.failed
}

// fail makes an error of the disk final.
func (l *Log) fail(err error) error {
	if err == nil {
		return nil
	}
	if l.writer.failed == nil {
		l.writer.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		l.options.Logger.Error("log failed; nothing is appended until it is opened again", "dir", l.options.Dir,
			"err", err)
	}
	return l.writer.failed
}

// check refuses what cannot be appended before anything is written.
func (l *Log) check(ws []Write) error {
	first, last := l.segments[0].prevIndex+1, l.writer.last
	for _, w := range ws {
		for _, e := range w.Entries {
			index := e.GetIndex()
			if index < first || index > last+1 {
				return fmt.Errorf("%w: entry %d to a log of %d to %d", ErrOrder, index, first, last)
			}
			if len(e.Data) > maxDataBytes-recordHeaderBytes {
				return fmt.Errorf("%w: entry %d of %d bytes", ErrOrder, index, len(e.Data))
			}
			last = index
		}
	}
	return nil
}

func (l *Log) write(w Write) error {
	if w.HardState != nil {
		if err := l.room(recordBytes(hardStateBytes)); err != nil {
			return err
		}
		var b [hardStateBytes]byte
		l.writer.stage(record{kind: kindHardState, data: appendHardState(b[:0], w.HardState)})
		l.writer.state = w.HardState
	}
	begin, offset := 0, l.writer.end()
	staged := func(end int) {
		if begin < end {
			l.writer.pending = append(l.writer.pending, run{w.Entries[begin:end], offset})
		}
		begin = end
	}
	for i, e := range w.Entries {
		size := recordBytes(len(e.Data))
		switch {
		case e.GetIndex() <= l.writer.last:
			staged(i)
			if err := l.cutFrom(e.GetIndex()); err != nil {
				return err
			}
			offset = l.writer.end()
		case !l.fits(size) || l.writer.staged() >= maxBufferBytes:
			staged(i)
			if err := l.room(size); err != nil {
				return err
			}
			offset = l.writer.end()
		}
		l.writer.stage(
			record{kind: kindEntry, entryType: e.GetType(), index: e.GetIndex(), term: e.GetTerm(), data: e.Data})
		l.writer.last = e.GetIndex()
	}
	staged(len(w.Entries))
	return nil
}

// fits tells whether a record of this size still goes into the newest segment. A segment takes at least one.
func (l *Log) fits(size int64) bool {
	return l.writer.end()+size <= l.options.SegmentBytes || l.writer.end() == headerBytes
}

// room makes room for a record of this size: in a new segment, if need be, and in the buffer.
func (l *Log) room(size int64) error {
	if !l.fits(size) {
		return l.roll()
	}
	if l.writer.staged() >= maxBufferBytes {
		return l.flush(false)
	}
	return nil
}

// flush writes the buffer, syncs if told to, and shows the entries to readers.
func (l *Log) flush(sync bool) error {
	w, tail := &l.writer, l.tail()
	err := w.patience.through(func() error {
		if err := w.put(tail.file); err != nil {
			return err
		}
		if err := w.zeroAhead(tail.file, l.options.SegmentBytes, l.folder.free); err != nil {
			return err
		}
		if !w.dirty || !sync && w.written < maxUnsyncedBytes {
			return nil
		}
		return w.sync(tail.file)
	})
	if err == nil {
		l.publish()
	}
	return err
}

// publish shows what was written to the readers.
func (l *Log) publish() {
	w := &l.writer
	l.mu.Lock()
	defer l.mu.Unlock()
	tail := l.tail()
	for _, p := range w.pending {
		for _, e := range p.entries {
			tail.add(e.GetIndex(), e.GetTerm(), e.GetType(), e.Data, p.offset)
			p.offset += recordBytes(len(e.Data))
			l.cache.push(e)
		}
	}
	clear(w.pending)
	w.pending = w.pending[:0]
	tail.end = w.offset
	l.hardState = w.state
}

// cutFrom cuts the entries from index on. In the newest segment the records that follow do it; where earlier segments
// are cut, the header of a new one does.
func (l *Log) cutFrom(index uint64) error {
	if err := l.flush(false); err != nil {
		return err
	}
	keep := len(l.segments) // the segments that still hold something before index
	for keep > 0 && l.segments[keep-1].prevIndex+1 >= index {
		keep--
	}
	tail := l.tail()
	if keep == len(l.segments) || tail.prevIndex+1 == index {
		reach, err := tail.reachBefore(index)
		if err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		tail.cutFrom(index, reach)
		l.cache.cutFrom(index)
		l.writer.last = index - 1
		return nil
	}
	h := &header{prevIndex: index - 1, prevTerm: l.holding(index - 1).term(index - 1), hardState: l.writer.state}
	if keep == 0 {
		h.reach = l.segments[0].base
		if l.segments[0].baseIndex != 0 {
			h.reach = unknownReach
		}
		return l.begin(h, 0)
	}
	before := l.segments[keep-1]
	reach, err := before.reachBefore(index)
	if err != nil {
		return err
	}
	if h.reach = reach; before.base == unknownReach || before.baseIndex >= index {
		h.reach = unknownReach
	}
	return l.begin(h, keep)
}

// roll seals the newest segment and begins the next.
func (l *Log) roll() error {
	if err := l.flush(false); err != nil {
		return err
	}
	tail := l.tail()
	if tail.last == tail.prevIndex && len(l.segments) > 1 {
		// It holds nothing but hard states: the next one takes its place.
		return l.begin(&header{
			prevIndex: tail.prevIndex, prevTerm: tail.prevTerm, reach: tail.nextReach(), hardState: l.writer.state,
		}, len(l.segments)-1)
	}
	sealed := l.writer.end()
	l.writer.stage(record{kind: kindIndex, index: tail.last, term: tail.reach, data: tail.encodeIndex()})
	if err := l.flush(true); err != nil {
		return err
	}
	l.mu.Lock()
	tail.end = sealed
	l.mu.Unlock()
	return l.begin(&header{
		prevIndex: tail.last, prevTerm: tail.term(tail.last), reach: tail.nextReach(), hardState: l.writer.state,
	}, len(l.segments))
}

// begin makes a new newest segment that continues the first keep segments after entry h.prevIndex; the other segments
// are dropped. When it returns, all that is durable.
func (l *Log) begin(h *header, keep int) error {
	w := &l.writer
	h.segment = l.folder.number + 1
	h.floor = h.segment
	if keep > 0 {
		before := l.segments[keep-1]
		h.follows, h.sealed, h.floor = before.number, uint64(before.end), l.segments[0].number
	}
	h.log = l.folder.log
	name := l.folder.segmentName(h.segment)
	var file durable.File
	var size int64
	err := w.patience.through(func() (err error) {
		file, size, err = l.folder.create(h, name)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.patience.through(func() error { return l.folder.note(h.segment) }); err != nil {
		return errors.Join(err, file.Close())
	}
	l.folder.number = h.segment
	w.segment, w.offset, w.size, w.synced = h.segment, headerBytes, size, headerBytes
	w.dirty, w.marked, w.last = false, true, h.prevIndex
	w.forget()

	l.mu.Lock()
	dropped := append([]*segment(nil), l.segments[keep:]...)
	l.segments = append(l.segments[:keep:keep], newSegment(h, name, file))
	if keep == 0 {
		l.cache.reset(h.prevIndex + 1)
	} else {
		if before := l.segments[keep-1]; before.last > h.prevIndex {
			reach := h.reach
			if reach == unknownReach {
				reach = 0
			}
			before.cutFrom(h.prevIndex+1, reach)
		}
		l.cache.cutFrom(h.prevIndex + 1)
	}
	l.hardState = w.state
	l.mu.Unlock()
	l.folder.release(dropped)
	return nil
}
