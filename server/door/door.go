package door

import (
	"container/heap"
	"container/list"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Options of a Door.
type Options struct {
	// Name says which listener it is, in logs and metrics.
	Name string
	// Most is how many connections may be open. At least 1.
	Most int
	// Strangers is how many of those may be strangers. At least 1.
	Strangers int
	// Patience is how long one may be a stranger. Default DefaultPatience.
	Patience time.Duration
	// VouchProves: who is vouched for has proved his worth as well ([Prove]).
	VouchProves bool
	// Crowds are as for [Door.Crowds].
	Crowds []netip.Prefix
	Logger *slog.Logger
}

// MostStrangerBytes is how much a connection may say before it has shown what it is: more than any handshake needs.
const MostStrangerBytes = 64 << 10

// DefaultPatience is how long a connection may take to show what it is: for a handshake and the first bytes.
const DefaultPatience = 10 * time.Second

// Door is a listener that is bounded. It is safe for concurrent use.
type Door struct {
	net.Listener
	options Options
	closing sync.Once
	closed  chan struct{}
	log     map[string]*complaint // by reason

	mu        sync.Mutex
	most      int // of connections, and of strangers among them
	mostNew   int
	open      int
	strangers list.List // of *conn, the one that has waited longest first
	resting   resting   // those that may be idle
	farewells int       // of connections that have lost their places and are heard out
	renewal   *renewal  // nil: nobody waits to be asked to come anew
	refused   map[string]uint64
	tolls     tolls
	next      time.Time // when the next newcomer is looked at
}

// Reasons for which a connection is closed by the door.
const (
	ReasonFull     = "full"     // Most are open
	ReasonStranger = "stranger" // it made room for a newcomer, or did not show in time what it is
	ReasonSystem   = "system"   // Accept failed: the system has no descriptor or no memory
	ReasonIdle     = "idle"     // it made room for a newcomer, having asked nothing for longest
	// ReasonHandshake: what came was no TLS, or showed no certificate that is taken.
	ReasonHandshake = "handshake"
	// ReasonToll: too many connections from its address came to nothing.
	ReasonToll = "toll"
	// ReasonWaits: a newcomer had to wait, since more come than are looked at. He was let in, or closed for another
	// reason.
	ReasonWaits = "waits"
	// ReasonTrifles: nothing was asked on it, and it sent frames that ask for nothing.
	ReasonTrifles = "trifles"
	// ReasonLate: a request did not come in time. That one ended, and the connection did not.
	ReasonLate = "late"
	// ReasonMuch: a request was refused because more was kept of its client than of others, and too much of all. The
	// connection stayed.
	ReasonMuch = "much"
)

// Reasons are all of them.
var Reasons = []string{
	ReasonFull, ReasonStranger, ReasonIdle, ReasonSystem, ReasonHandshake, ReasonToll, ReasonWaits, ReasonTrifles,
	ReasonLate, ReasonMuch,
}

// New puts a door before l, which it owns.
func New(l net.Listener, o Options) *Door {
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	d := &Door{
		Listener: l, options: o, most: o.Most, mostNew: o.Strangers, closed: make(chan struct{}),
		refused: map[string]uint64{}, tolls: newTolls(), log: map[string]*complaint{},
	}
	d.tolls.crowds = o.Crowds
	for _, reason := range Reasons {
		d.log[reason] = &complaint{}
	}
	return d
}

// Bound has other bounds hold for connections that come; those that are there stay, however many they are.
func (d *Door) Bound(most, strangers int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.most, d.mostNew = most, strangers
}

// Accept returns the next connection that there is room for. Its only error is net.ErrClosed. It is for one goroutine.
func (d *Door) Accept() (net.Conn, error) {
	pause := firstPause
	for {
		c, err := d.Listener.Accept()
		if err == nil {
			pause = firstPause
			if !d.itsTurn() {
				drop(c)
				return nil, net.ErrClosed
			}
			if admitted := d.admit(c); admitted != nil {
				return admitted, nil
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) || !d.wait(pause) {
			return nil, net.ErrClosed
		}
		pause = min(2*pause, longestPause)
		d.count(ReasonSystem)
		d.complain(ReasonSystem, "connections cannot be accepted", "err", err)
	}
}

// itsTurn waits until a newcomer is to be looked at. It returns false if the door was closed meanwhile.
func (d *Door) itsTurn() bool {
	d.mu.Lock()
	left := time.Until(d.next)
	d.mu.Unlock()
	if left <= 0 {
		return true
	}
	d.count(ReasonWaits)
	d.complain(ReasonWaits, "newcomers wait: more come than are looked at of those who come to nothing, "+
		"or have asked nothing yet", "each-second", tollOfAll.each)
	return d.wait(left)
}

// Pauses between two tries of an Accept that fails.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
)

// wait returns false if the door was closed meanwhile.
func (d *Door) wait(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.closed:
		return false
	}
}

// Close closes the listener. Connections that were let in stay open.
func (d *Door) Close() error {
	d.closing.Do(func() { close(d.closed) })
	return d.Listener.Close()
}

// admit returns c as one that counts, or closes it and returns nil.
func (d *Door) admit(c net.Conn) net.Conn {
	fresh := &conn{Conn: c, door: d, since: time.Now()}
	d.mu.Lock()
	account, in, wait := d.tolls.enter(c.RemoteAddr(), fresh.since)
	fresh.account, d.next = account, fresh.since.Add(wait)
	if !in {
		d.mu.Unlock()
		d.turnAway(c, account)
		return nil
	}
	var leaves *conn
	full, most, mostNew := d.open >= d.most, d.most, d.mostNew
	if oldest := d.strangers.Front(); oldest != nil && (full || d.strangers.Len() >= mostNew) {
		leaves = oldest.Value.(*conn)
		d.forget(leaves)
		d.refused[ReasonStranger]++
		full = false
	}
	var idle *conn
	if full {
		idle = d.longestIdle()
	}
	var farewell func()
	heardOut := false
	if idle != nil {
		if !idle.inTurns.Load() {
			farewell = idle.farewell
		}
		if heardOut = farewell != nil && d.farewells < mostFarewells; heardOut {
			d.farewells++
		}
		d.forget(idle)
		d.refused[ReasonIdle]++
		full = false
	}
	if full {
		d.refused[ReasonFull]++
	} else {
		d.open++
		fresh.place = d.strangers.PushBack(fresh)
		fresh.stranger.Store(true)
		fresh.patience = time.AfterFunc(d.options.Patience, fresh.expire)
	}
	d.mu.Unlock()
	if leaves != nil {
		leaves.end()
		d.complain(ReasonStranger, "a connection that did not show what it is made room for another", "most", mostNew)
	}
	if idle != nil {
		go idle.seeOff(farewell, heardOut) // which may wait for somebody who reads nothing
		d.complain(ReasonIdle, "a connection that asked nothing made room for another", "most", most)
	}
	if full {
		drop(c)
		d.complain(ReasonFull, "a connection was refused: there are as many as may be", "most", most)
		return nil
	}
	return fresh
}

// turnAway closes a connection that an account does not let in.
func (d *Door) turnAway(c net.Conn, account *toll) {
	drop(c)
	d.count(ReasonToll)
	d.complain(ReasonToll, "connections are turned away: of those that came from there too many came to nothing "+
		"(many clients behind one address: see the setting crowds)",
		"from", c.RemoteAddr().String(), "of", account.of, "at-once", account.burst, "each-second", account.each)
}

// forget takes a connection out of the books. mu is held.
func (d *Door) forget(c *conn) {
	if c.gone {
		return
	}
	c.gone = true
	d.open--
	if now := time.Now(); c.proved.Load() && now.Sub(c.since) >= stayed {
		d.tolls.left(c.Conn.RemoteAddr(), now)
	}
	if c.retire != nil {
		heap.Remove(&d.resting, c.at)
	}
	d.acquaint(c)
}

// acquaint makes a connection a stranger no longer. mu is held.
func (d *Door) acquaint(c *conn) {
	if c.place != nil {
		c.patience.Stop()
		c.stranger.Store(false)
		d.strangers.Remove(c.place)
		c.place = nil
	}
}

func (d *Door) count(reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[reason]++
}

// Figures are a picture of a door.
type Figures struct {
	Name                  string
	Open, Strangers, Most int
	Refused               map[string]uint64 // by reason, all since the start
}

// Figures returns how the door is.
func (d *Door) Figures() Figures {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := Figures{Name: d.options.Name, Open: d.open, Strangers: d.strangers.Len(), Most: d.most,
		Refused: map[string]uint64{}}
	for _, reason := range Reasons {
		f.Refused[reason] = d.refused[reason]
	}
	return f
}
