package door

import (
	"slices"
	"time"
)

// renewPause is after what time more of those are asked to come anew for whom there was no room.
const renewPause = time.Second

// renewal is who is asked to come anew, in turn. It is guarded by the door's mu.
type renewal struct {
	waiting, asked []*conn
	done           []func() // of all who asked for it
}

// Renew asks everybody who is there and knows a farewell to go, and to come anew when he has something to say
// ([Farewell]); those who speak in turns ([Rests]) stay. Who has something under way keeps his connection until it is
// over, and has another one meanwhile: so no more of them are asked at a time than half of the places that are free,
// less those for whom a place was left so, and the others when there is room, which may be never. Who is asked for
// while others wait yet waits behind them. done is called, in a goroutine of its own, when all were asked, those of
// calls before and after included, or the door is closed. Renew waits for nobody.
func (d *Door) Renew(done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, begins := d.renewal, d.renewal == nil
	if begins {
		r = &renewal{}
		d.renewal = r
	}
	known := map[*conn]bool{}
	for _, c := range slices.Concat(r.waiting, r.asked) {
		known[c] = true
	}
	for _, c := range d.resting {
		if c.farewell != nil && !c.inTurns.Load() && !known[c] {
			r.waiting = append(r.waiting, c)
		}
	}
	r.done = append(r.done, done)
	if begins {
		go d.renew(r)
	}
}

// renew asks all, as there is room; there is one at a time.
func (d *Door) renew(r *renewal) {
	for !d.ask(r) && d.wait(renewPause) {
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.renewal == r { // the door is closed
		d.renewal = nil
	}
	for _, done := range r.done {
		go done()
	}
}

// ask asks as many as there is room for, and reports whether nobody waits any more: then it is over, and the next
// renewal is another one.
func (d *Door) ask(r *renewal) (over bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := func(c *conn) bool { return c.gone }
	r.waiting, r.asked = slices.DeleteFunc(r.waiting, gone), slices.DeleteFunc(r.asked, gone)
	room := min(max((d.most-d.open-len(r.asked))/2, 0), len(r.waiting))
	for _, c := range r.waiting[:room] {
		go c.farewell() // which may wait for somebody who reads nothing
	}
	r.asked, r.waiting = append(r.asked, r.waiting[:room]...), r.waiting[room:]
	if len(r.waiting) > 0 {
		return false
	}
	d.renewal = nil
	return true
}
