package door

import (
	"slices"
	"time"
)

// renewPause is after what time more of those are asked to come anew for whom there was no room.
const renewPause = time.Second

// renewal is who is asked to come anew, in turn.
type renewal struct {
	waiting, asked []*conn
}

// Renew asks everybody who is there and knows a farewell to go, and to come anew when he has something to say
// ([Farewell]); those who speak in turns ([Rests]) stay. Who has something under way keeps his connection until it is
// over, and has another one meanwhile: so no more of them are asked at a time than half of the places that are free,
// less those for whom a place was left so, and the others when there is room. done is called when all were asked, or
// the door is closed. Renew waits for nobody.
func (d *Door) Renew(done func()) {
	r := &renewal{}
	d.mu.Lock()
	for _, c := range d.resting {
		if c.farewell != nil && !c.inTurns.Load() {
			r.waiting = append(r.waiting, c)
		}
	}
	d.mu.Unlock()
	go func() {
		defer done()
		for d.ask(r); len(r.waiting) > 0 && d.wait(renewPause); {
			d.ask(r)
		}
	}()
}

// ask asks as many as there is room for.
func (d *Door) ask(r *renewal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := func(c *conn) bool { return c.gone }
	r.waiting, r.asked = slices.DeleteFunc(r.waiting, gone), slices.DeleteFunc(r.asked, gone)
	room := min(max((d.most-d.open-len(r.asked))/2, 0), len(r.waiting))
	for _, c := range r.waiting[:room] {
		go c.farewell() // which may wait for somebody who reads nothing
	}
	r.asked, r.waiting = append(r.asked, r.waiting[:room]...), r.waiting[room:]
}
