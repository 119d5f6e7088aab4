package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// load reads what the disk has.
func (l *Log) load() (disk, loaded, error) {
	d := disk{fs: l.options.FS, dir: filepath.Join(l.options.Dir, dirName)}
	had, err := d.load()
	return d, had, err
}

// begin has the log be what a disk has. mu is held, or nobody else has the log yet.
func (l *Log) begin(d disk, had *loaded) {
	for _, gap := range had.gaps {
		l.options.Logger.Warn("events cannot be read", "err", gap)
	}
	l.disk, l.records, l.next, l.known = d, had.records, had.next, map[string]bool{}
	for i := range l.records {
		l.know(&l.records[i])
	}
}

// unreadable says why the directory cannot be used.
func (l *Log) unreadable(err error) {
	l.problem = "events are not kept, which is tried again every " + retryEvery.String() + ": " + err.Error()
}

// attempt is a try to use a directory that could not be used. It is made in a goroutine of its own: the disk that
// failed may hang, and what is in memory is told all the same.
type attempt struct {
	disk disk
	had  loaded
	err  error

	list  []Record // what was in memory, as it is written behind what the disk has
	first uint64   // event that the disk has then
	wrote bool     // it is written, if err is nil
	next  uint64   // event in memory behind the list
}

// resume begins to try again to use a directory that could not be used, unless that is under way. What is in memory is
// told until it is on the disk, behind what that has.
func (l *Log) resume() {
	l.mu.Lock()
	unkept := l.unkept
	l.mu.Unlock()
	if !unkept || l.trying {
		return
	}
	l.trying = true
	go func() {
		a := &attempt{}
		a.disk, a.had, a.err = l.load()
		l.tried <- a
	}()
}

// closeWait is for how long the end of a log waits for a directory that could not be used.
const closeWait = retryEvery

// resumeLast is resume at the end, and waits for how it turns out. Where the disk hangs it is left to itself.
func (l *Log) resumeLast() {
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	for l.resume(); l.trying; {
		select {
		case a := <-l.tried:
			l.goOn(a)
		case <-timer.C:
			l.options.Logger.Warn("events of this process are not kept: their directory could not be used in time")
			return
		}
	}
}

// goOn takes up how far an attempt has come.
func (l *Log) goOn(a *attempt) {
	l.trying = false
	switch {
	case a.err != nil:
		l.mu.Lock()
		l.unreadable(a.err)
		l.mu.Unlock()
	case a.wrote:
		l.join(a)
	default:
		l.append(a)
	}
}

// append begins to write what was kept in memory until now behind what a disk has.
func (l *Log) append(a *attempt) {
	if n := len(a.disk.segments); n > 0 {
		a.disk.segments[n-1].ended = true // in a file of their own nothing is left of them if they cannot be written
	}
	l.write() // nothing waits, as long as the list is made
	l.mu.Lock()
	a.list, a.next = l.joined(&a.had), l.next
	l.mu.Unlock()
	a.wrote = true
	if len(a.list) == 0 {
		l.join(a)
		return
	}
	l.trying = true
	go func() {
		if err := a.disk.write(a.list, l.options.Now()); err != nil {
			a.err = errors.Join(fmt.Errorf("write events: %w", err), a.disk.close())
		} else if a.first, err = a.disk.trim(l.options.MostBytes, l.options.Now().Add(-l.options.MostAge)); err != nil {
			l.options.Logger.Debug("events of before not removed", "err", err) // what is too old stays for longer
		}
		l.tried <- a
	}()
}

// join goes on with what a disk has, to which what was kept in memory was written. What came meanwhile waits for it.
func (l *Log) join(a *attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	meanwhile := slices.DeleteFunc(l.records, func(r Record) bool { return r.Seq < a.next })
	if n := len(meanwhile); n > 0 {
		l.dropped += meanwhile[0].Seq - a.next // found no place in memory
	} else {
		l.dropped += l.next - a.next
	}
	waiting, at := l.waiting, l.at
	l.begin(a.disk, &a.had)
	l.waiting, l.at, l.gone = nil, nil, 0
	l.unkept, l.problem = false, ""
	for i := range a.list {
		l.know(&a.list[i])
	}
	for i := range meanwhile {
		l.await(meanwhile[i].Event, meanwhile[i].At)
	}
	for i := range waiting {
		l.await(waiting[i], at[i])
	}
	if len(a.list) > 0 {
		l.show(a.list, a.first)
	} else {
		l.tell() // what is here is another log than before
	}
	l.options.Logger.Info("events are kept again")
}

// joined returns what is to be written behind what a disk has: what of that cannot be read, and what is in
// memory, but for what the disk has too: an attempt before may have written it, and have been told that it was not. mu
// is held.
func (l *Log) joined(had *loaded) (list []Record) {
	known, then := map[string]bool{}, map[int64][]*Record{}
	for i := range had.records {
		r := &had.records[i]
		known[r.ID] = true
		then[r.At.UnixNano()] = append(then[r.At.UnixNano()], r)
	}
	add := func(e replication.Event, at time.Time) {
		if e.ID == "" || !known[e.ID] {
			known[e.ID] = true
			list = append(list, Record{Seq: had.next + uint64(len(list)), At: at, Event: e})
		}
	}
	for _, gap := range had.gaps {
		add(clip(replication.Event{Kind: replication.EventGap, Text: gap}), l.options.Now())
	}
	for i := range l.records {
		r := &l.records[i]
		if !slices.ContainsFunc(then[r.At.UnixNano()], func(o *Record) bool { return sameEvent(&o.Event, &r.Event) }) {
			add(r.Event, r.At)
		}
	}
	if lost := l.dropped + l.gone; lost > 0 {
		add(noPlace(lost), l.options.Now())
	}
	return list
}

// sameEvent reports whether two events are one, of which one may have been read from a disk.
func sameEvent(a, b *replication.Event) bool {
	one, err := json.Marshal(a)
	two, other := json.Marshal(b)
	return err == nil && other == nil && bytes.Equal(one, two)
}
