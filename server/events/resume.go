package events

import (
	"errors"
	"fmt"
	"path/filepath"
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

// resume tries again to use a directory that could not be used. What is in memory is told until it is on the disk,
// behind what that has.
func (l *Log) resume() {
	l.mu.Lock()
	unkept := l.unkept
	l.mu.Unlock()
	if !unkept {
		return
	}
	d, had, err := l.load()
	if err == nil {
		err = l.join(d, &had)
	}
	if err != nil {
		l.mu.Lock()
		l.unreadable(err)
		l.mu.Unlock()
	}
}

// join writes what was kept in memory until now behind what a disk has, and goes on with that.
func (l *Log) join(d disk, had *loaded) error {
	if n := len(d.segments); n > 0 {
		d.segments[n-1].ended = true // in a file of their own nothing is left of them if they cannot be written
	}
	l.mu.Lock()
	list, taken, dropped := l.joined(had), len(l.waiting), l.dropped
	l.mu.Unlock()
	first := uint64(0)
	if len(list) > 0 {
		if err := d.write(list, l.options.Now()); err != nil {
			return errors.Join(fmt.Errorf("write events: %w", err), d.close())
		}
		var err error
		if first, err = d.trim(l.options.MostBytes, l.options.Now().Add(-l.options.MostAge)); err != nil {
			l.options.Logger.Debug("events of before not removed", "err", err) // what is too old stays for longer
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(d, had)
	waiting, at := l.waiting[taken:], l.at[taken:]
	l.waiting, l.at = nil, nil
	l.dropped, l.gone = l.dropped-dropped, 0
	l.unkept, l.problem = false, ""
	for i := range list {
		l.know(&list[i])
	}
	for i := range waiting {
		l.await(waiting[i], at[i])
	}
	if len(list) > 0 {
		l.show(list, first)
	} else {
		l.tell() // what is here is another log than before
	}
	l.options.Logger.Info("events are kept again")
	return nil
}

// joined returns what is to be written behind what a disk has: what of that cannot be read, what is in memory, and what
// waits, but for what the disk has too. mu is held.
func (l *Log) joined(had *loaded) (list []Record) {
	known := map[string]bool{}
	for i := range had.records {
		known[had.records[i].ID] = true
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
		add(l.records[i].Event, l.records[i].At)
	}
	for i := range l.waiting {
		add(l.waiting[i], l.at[i])
	}
	if lost := l.dropped + l.gone; lost > 0 {
		add(noPlace(lost), l.options.Now())
	}
	return list
}
