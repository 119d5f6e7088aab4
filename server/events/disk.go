package events

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
)

const (
	suffix = ".log"
	// A file is begun with so many bytes in the one before, or after so long.
	fileBytes = 256 << 10
	fileAge   = 30 * 24 * time.Hour
)

// segment is one file of a log.
type segment struct {
	name        string
	first, last uint64 // events; last is first-1 if it has none
	bytes       int64
	newest      time.Time // of its events; zero if it has none
	ended       bool      // it is not gone on with
}

// disk is the files of a log. It is not safe for concurrent use.
type disk struct {
	fs       durable.FS
	dir      string
	identity uint64
	segments []segment
	open     durable.File // the last one; nil: the next write begins a new file
	at       int64        // how much is in it
	began    time.Time    // when
}

// loaded is what a directory held.
type loaded struct {
	records []Record
	gaps    []string // what cannot be read, in words
	broken  error    // why the last file could not be read to its end
	next    uint64   // number of the next event
}

// load reads the directory, which it makes if it is missing.
func (d *disk) load() (loaded, error) {
	l := loaded{next: 1}
	if err := durable.MakeDir(d.fs, d.dir); err != nil {
		return l, err
	}
	names, err := d.fs.List(d.dir)
	if err != nil {
		return l, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, suffix) })
	slices.Sort(names)
	for i, name := range names {
		if err := d.loadFile(&l, name, i == len(names)-1); err != nil {
			return l, err
		}
	}
	if d.identity == 0 {
		d.identity = newIdentity()
	}
	return l, nil
}

func newIdentity() uint64 {
	var p [8]byte
	rand.Read(p[:]) // it does not fail
	return binary.LittleEndian.Uint64(p[:]) | 1
}

// loadFile adds what a file has. What a crash cut off the last one is removed.
func (d *disk) loadFile(l *loaded, name string, last bool) error {
	path := filepath.Join(d.dir, name)
	p, err := durable.ReadFile(d.fs, path)
	if err != nil { // what it has is not known, and stays
		return fmt.Errorf("read events: %w", err)
	}
	identity, first, err := decodeHeader(p)
	if last && errors.Is(err, errCut) { // it was begun when the power went
		return d.fs.Remove(path)
	}
	if err != nil {
		// Which numbers it had nobody knows: whoever remembers one asks from the beginning.
		l.broken, l.next, d.identity = fmt.Errorf("%s: %w", name, err), max(l.next, numberOf(name)+1), 0
		if last {
			l.gaps = append(l.gaps, "events are missing: "+l.broken.Error())
		}
		return nil
	}
	d.identity = identity
	l.follow(first, name)
	list, good, err := decodeRecords(p[headerBytes:], first)
	s := segment{name: name, first: first, last: first - 1 + uint64(len(list)), bytes: int64(len(p))}
	for i := range list {
		s.newest = list[i].At
	}
	l.records, l.next = append(l.records, list...), s.last+1
	if err != nil {
		l.broken = fmt.Errorf("%s: %w", name, err)
	}
	if err != nil && last && !errors.Is(err, errCut) {
		l.gaps = append(l.gaps, fmt.Sprintf("events behind %d are missing: %v", s.last, l.broken))
		d.identity, s.ended = 0, true
	}
	if last && len(list) == 0 { // the next one has its name
		return d.fs.Remove(path)
	}
	if d.segments = append(d.segments, s); err == nil || !last {
		return nil
	}
	end := &d.segments[len(d.segments)-1]
	end.bytes = int64(headerBytes + good)
	err = durable.WriteFile(d.fs, path, func(w io.Writer) error {
		_, err := w.Write(p[:headerBytes+good])
		return err
	})
	end.ended = end.ended || err != nil // there may be no room now, and there may be when there is something to write
	return nil
}

// follow has a file that begins with the event number first follow. What the one before it has from there on was not
// synced when this one was begun.
func (l *loaded) follow(first uint64, name string) {
	if n := len(l.records); n > 0 && first > l.next || n == 0 && l.broken != nil {
		text := fmt.Sprintf("events are missing before %s", name)
		if l.broken != nil {
			text += ": " + l.broken.Error()
		}
		l.gaps = append(l.gaps, text)
	}
	l.records = slices.DeleteFunc(l.records, func(r Record) bool { return r.Seq >= first })
	l.broken = nil
}

// numberOf returns the number of the first event that the name of a file tells, 0 if it tells none.
func numberOf(name string) (first uint64) {
	fmt.Sscanf(name, "%d", &first) //nolint:errcheck // then it is 0
	return first
}

// write appends events, durably. After an error nothing of them counts as written.
func (d *disk) write(list []Record, now time.Time) error {
	if err := d.begin(list[0].Seq, now); err != nil {
		return err
	}
	var p []byte
	for i := range list {
		var err error
		if p, err = appendRecord(p, &list[i]); err != nil {
			return err
		}
	}
	_, err := d.open.WriteAt(p, d.at)
	if err == nil {
		err = d.open.SyncData()
	}
	if err != nil {
		return errors.Join(err, d.giveUp())
	}
	d.at += int64(len(p))
	s := &d.segments[len(d.segments)-1]
	s.last, s.bytes, s.newest = list[len(list)-1].Seq, d.at, list[len(list)-1].At
	return nil
}

// begin has a file open to which the event number first goes.
func (d *disk) begin(first uint64, now time.Time) error {
	if d.open == nil && len(d.segments) > 0 {
		s := d.segments[len(d.segments)-1]
		if !s.ended && s.last+1 == first && s.bytes < fileBytes && now.Sub(s.newest) < fileAge {
			f, err := d.fs.OpenReadWrite(filepath.Join(d.dir, s.name))
			if err != nil {
				return err
			}
			d.open, d.at, d.began = f, s.bytes, s.newest
		}
	}
	if d.open != nil && d.at < fileBytes && now.Sub(d.began) < fileAge {
		return nil
	}
	if err := d.close(); err != nil {
		return err
	}
	name := fmt.Sprintf("%020d%s", first, suffix)
	f, err := d.fs.Create(filepath.Join(d.dir, name))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(appendHeader(nil, d.identity, first), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.fs.SyncDir(d.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close(), d.fs.Remove(filepath.Join(d.dir, name)))
	}
	d.open, d.at, d.began = f, headerBytes, now
	d.segments = append(d.segments, segment{name: name, first: first, last: first - 1, bytes: headerBytes})
	return nil
}

// giveUp leaves the file that is open, of which nobody knows what is on the disk behind what was synced: a file without
// a synced event is removed, and the next write begins another.
func (d *disk) giveUp() error {
	err := d.close()
	if s := d.segments[len(d.segments)-1]; s.last < s.first {
		d.segments = d.segments[:len(d.segments)-1]
		return errors.Join(err, d.fs.Remove(filepath.Join(d.dir, s.name)))
	}
	d.segments[len(d.segments)-1].ended = true // what was written behind its end may be there or not
	return err
}

func (d *disk) close() error {
	if d.open == nil {
		return nil
	}
	err := d.open.Close()
	d.open = nil
	return err
}

// trim removes the oldest files while there is more than mostBytes, or all that a file has is older than oldest. The
// last one stays. It returns the first event that is left.
func (d *disk) trim(mostBytes int64, oldest time.Time) (first uint64, err error) {
	var total int64
	for _, s := range d.segments {
		total += s.bytes
	}
	for len(d.segments) > 1 && (total > mostBytes || d.segments[0].newest.Before(oldest)) {
		if err := d.fs.Remove(filepath.Join(d.dir, d.segments[0].name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.segments[0].first, err
		}
		total -= d.segments[0].bytes
		d.segments = d.segments[1:]
	}
	if len(d.segments) == 0 {
		return 0, nil
	}
	return d.segments[0].first, nil
}
