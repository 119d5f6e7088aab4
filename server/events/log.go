package events

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
)

const (
	// dirName is the log's in a data directory.
	dirName = "events"
	// MostBytes and MostAge bound what is kept.
	MostBytes = 4 << 20
	MostAge   = 400 * 24 * time.Hour
	// mostWaiting is how many events wait for the disk.
	mostWaiting = 4096
	// retryEvery is how often a disk that took none, or a directory that could not be used, is tried again.
	retryEvery = 5 * time.Second
)

// Options say where a log is and what it may use.
type Options struct {
	FS  durable.FS // default: the machine's
	Dir string     // the data directory
	// Node and Region are told with what is read.
	Node, Region string
	Logger       *slog.Logger
	Now          func() time.Time // wall clock; default: the machine's
	// MostBytes and MostAge are as the constants, which are their defaults.
	MostBytes int64
	MostAge   time.Duration
}

// Log keeps events. It is safe for concurrent use.
type Log struct {
	options Options
	disk    disk          // of the goroutine that writes
	wake    chan struct{} // holds one
	ended   chan struct{} // closed when nothing is written any more
	tried   chan *attempt // holds the one that is under way
	trying  bool          // one is; of the goroutine that writes

	mu      sync.Mutex
	records []Record // on the disk, or if unkept in memory alone
	known   map[string]bool
	waiting []replication.Event
	at      []time.Time // of waiting, when they came
	dropped uint64      // that found no place among waiting
	next    uint64
	unkept  bool   // the directory cannot be used
	gone    uint64 // while unkept: events that are not in memory any more
	problem string // why events are not kept, or cannot be read
	changed chan struct{}
	closing bool
	hurried chan struct{} // closed when nobody waits any more
}

// Open returns the log of a data directory. It does not fail: what is wrong is logged, and told with what is read.
func Open(o Options) *Log {
	if o.FS == nil {
		o.FS = durable.OS
	}
	if o.Now == nil {
		o.Now = func() time.Time { return time.Now().UTC() }
	}
	if o.MostBytes == 0 {
		o.MostBytes = MostBytes
	}
	if o.MostAge == 0 {
		o.MostAge = MostAge
	}
	l := &Log{
		options: o, next: 1, wake: make(chan struct{}, 1), ended: make(chan struct{}), changed: make(chan struct{}),
		hurried: make(chan struct{}), tried: make(chan *attempt, 1),
	}
	d, had, err := l.load()
	if err != nil {
		l.disk.identity, l.known, l.unkept = newIdentity(), map[string]bool{}, true
		l.unreadable(err)
		o.Logger.Warn("events are not kept, and those of before not told; tries on", "err", err)
	} else {
		l.begin(d, &had)
		for _, gap := range had.gaps {
			l.Add(replication.Event{Kind: replication.EventGap, Text: gap})
		}
	}
	go l.run()
	return l
}

func (l *Log) know(r *Record) {
	if r.ID != "" {
		l.known[r.ID] = true
	}
}

// mostText bounds each text of an event, in bytes.
const mostText = 2 << 10

// clip returns an event with texts that are not too long.
func clip(e replication.Event) replication.Event {
	short := func(text string) string {
		if len(text) > mostText {
			return strings.ToValidUTF8(text[:mostText], "") + "…"
		}
		return text
	}
	e.Text = short(e.Text)
	if e.Order != nil {
		o := *e.Order
		o.By, o.What, o.Err, o.Loss = short(o.By), short(o.What), short(o.Err), short(o.Loss)
		e.Order = &o
	}
	return e
}

// Add keeps an event, unless it is one of which the identity is known. It never waits.
func (l *Log) Add(e replication.Event) {
	e = clip(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closing || e.ID != "" && l.known[e.ID]:
		return
	case len(l.waiting) >= mostWaiting:
		l.dropped++
		return
	}
	l.await(e, l.options.Now())
	l.nudge()
}

// await has an event that came at a time wait for the disk, unless it is known. mu is held.
func (l *Log) await(e replication.Event, at time.Time) {
	if e.ID != "" && l.known[e.ID] {
		return
	}
	if e.ID != "" {
		l.known[e.ID] = true
	}
	l.waiting, l.at = append(l.waiting, e), append(l.at, at)
}

func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run writes what waits, until the log is closed.
func (l *Log) run() {
	defer close(l.ended)
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		select {
		case <-l.wake:
		case a := <-l.tried:
			l.goOn(a)
		case <-retry.C:
			l.resume()
		}
		l.mu.Lock()
		closing := l.closing // before: what was added until then is written
		l.mu.Unlock()
		if closing {
			l.resumeLast()
		}
		l.write()
		if closing {
			return
		}
	}
}

// write writes what waits, and shows it.
func (l *Log) write() {
	l.mu.Lock()
	list, taken, dropped := l.numbered(), len(l.waiting), l.dropped
	unkept := l.unkept
	l.mu.Unlock()
	if len(list) == 0 {
		return
	}
	var err error
	first := uint64(0)
	if !unkept {
		if err = l.disk.write(list, l.options.Now()); err == nil {
			first, err = l.disk.trim(l.options.MostBytes, l.options.Now().Add(-l.options.MostAge))
			if err != nil { // what is too old stays for longer
				l.options.Logger.Debug("events of before not removed", "err", err)
				err = nil
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if l.problem == "" {
			l.options.Logger.Warn("events cannot be written; tries on", "err", err)
		}
		l.problem = "events wait for the disk: " + err.Error()
		return
	}
	if !l.unkept {
		l.problem = ""
	}
	l.waiting, l.at = append([]replication.Event(nil), l.waiting[taken:]...), append([]time.Time(nil), l.at[taken:]...)
	l.dropped -= dropped
	l.show(list, first)
}

// numbered returns what waits as it is to be written. mu is held.
func (l *Log) numbered() []Record {
	list := make([]Record, 0, len(l.waiting)+1)
	for i, e := range l.waiting {
		list = append(list, Record{Seq: l.next + uint64(len(list)), At: l.at[i], Event: e})
	}
	if l.dropped > 0 {
		list = append(list, Record{
			Seq: l.next + uint64(len(list)), At: l.options.Now(), Event: noPlace(l.dropped),
		})
	}
	return list
}

// noPlace says how many events are missing.
func noPlace(dropped uint64) replication.Event {
	text := strconv.FormatUint(dropped, 10) + " events found no place while the disk took none"
	return replication.Event{Kind: replication.EventGap, Text: text}
}

// show shows what was written: events from first on are kept. mu is held.
func (l *Log) show(list []Record, first uint64) {
	l.records, l.next = append(l.records, list...), list[len(list)-1].Seq+1
	gone := 0
	for gone < len(l.records) && (l.records[gone].Seq < first || l.unkept && len(l.records)-gone > mostWaiting) {
		delete(l.known, l.records[gone].ID)
		gone++
	}
	l.records = append([]Record(nil), l.records[gone:]...)
	if l.unkept {
		l.gone += uint64(gone)
	}
	l.tell()
}

// tell wakes who waits for what is shown. mu is held.
func (l *Log) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Hurry has nobody wait for events any more. It is called once, before Close.
func (l *Log) Hurry() { close(l.hurried) }

// Close writes what waits and ends the log. What is added afterwards is dropped. For a directory that could not be used
// it waits no longer than closeWait.
func (l *Log) Close() error {
	l.mu.Lock()
	was := l.closing
	l.closing = true
	l.mu.Unlock()
	l.nudge()
	<-l.ended
	if was {
		return nil
	}
	if err := l.disk.close(); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	return nil
}

// Question is what is asked of a log.
type Question struct {
	// Log and After are what was read before: only what follows is told, unless Log is another one's, or empty.
	Log   string
	After uint64
	// Since leaves out what was written before, and Region what is about other regions alone. Zero: nothing.
	Since  time.Time
	Region string
	// Most bounds how many are told; 0: DefaultMost.
	Most int
	// Wait is for how long it is waited for an event that is to be told.
	Wait time.Duration
}

// DefaultMost is how many events are told at once.
const DefaultMost = 1000

// Page is what a log tells.
type Page struct {
	Node   string `json:"node"`
	Region string `json:"region"`
	// Log is the identity of the log, Last the number up to which was looked, for the next question; More says that
	// there is more at once.
	Log  string `json:"log"`
	Last uint64 `json:"last"`
	More bool   `json:"more,omitempty"`
	// Now is the node's wall clock when it answered.
	Now time.Time `json:"now"`
	// Problem says why events are missing from the log.
	Problem string   `json:"problem,omitempty"`
	Events  []Record `json:"events"`
}

// Read answers a question. If it waits it returns early when ctx ends or the log does.
func (l *Log) Read(ctx context.Context, q Question) Page {
	ctx, cancel := context.WithTimeout(ctx, q.Wait)
	defer cancel()
	for {
		l.mu.Lock()
		page, changed := l.page(q), l.changed
		l.mu.Unlock()
		if len(page.Events) > 0 {
			return page
		}
		select {
		case <-changed:
		case <-l.ended:
			return page
		case <-l.hurried:
			return page
		case <-ctx.Done():
			return page
		}
	}
}

// page is what is there now. mu is held.
func (l *Log) page(q Question) Page {
	p := Page{
		Node: l.options.Node, Region: l.options.Region, Log: strconv.FormatUint(l.disk.identity, 16),
		Now: l.options.Now(), Problem: l.problem, Events: []Record{},
	}
	if q.Log != p.Log {
		q.After = 0
	}
	if q.Most <= 0 {
		q.Most = DefaultMost
	}
	p.Last = q.After
	for i := range l.records {
		r := &l.records[i]
		if r.Seq <= q.After {
			continue
		}
		if r.At.Before(q.Since) || q.Region != "" && !About(&r.Event, q.Region) {
			p.Last = r.Seq
			continue
		}
		if len(p.Events) == q.Most {
			p.More = true
			break
		}
		p.Events, p.Last = append(p.Events, *r), r.Seq
	}
	return p
}

// About reports whether an event concerns a region: it is its own, or it is the other one in it. A charter and an alarm
// concern all.
func About(e *replication.Event, region string) bool {
	return e.Region == region || e.Other == region || e.Region == ""
}
