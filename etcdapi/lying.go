package etcdapi

import (
	"cmp"
	"slices"
	"time"
)

const (
	// trifleBytes is what a message has at most that is sent whatever others have left unread, if its connection has
	// left nothing: a little more than what streams send uncounted.
	trifleBytes = 2 * smallBytes
	// lyingTime is for how long a message may lie unread where others wait, and a second more for each unreadPace of
	// its bytes, unless its connection reads as fast as that.
	lyingTime = 30 * time.Second
	// lyingLook is how often it is looked, as long as somebody waits.
	lyingLook = 5 * time.Second
)

// lyingFor is for how long so many bytes may lie.
func lyingFor(bytes int64) time.Duration { return lyingTime + paced(bytes) }

// paced is how many whole seconds it takes to read so many bytes no faster than has to be.
func paced(bytes int64) time.Duration { return time.Duration(bytes/unreadPace) * time.Second }

// account is what a connection has left unread.
type account struct {
	bytes int64
	due   time.Time  // until then it reads as fast as it has to
	read  int64      // what was read, and is less than due counts
	lying []*counted // messages that can be ended with their requests
}

// leftBy returns how much a connection has left unread. The caller holds mu.
func (a *answers) leftBy(connection string) int64 {
	if of := a.unread[connection]; of != nil {
		return of.bytes
	}
	return 0
}

// add counts what waits for a connection. The caller holds mu.
func (a *answers) add(connection string, bytes int64) {
	if bytes == 0 {
		return
	}
	of := a.unread[connection]
	if of == nil {
		of = &account{due: time.Now().Add(lyingTime)}
		a.unread[connection] = of
	}
	a.bytes += bytes
	of.bytes += bytes
	a.sources.Hold(connection, bytes)
}

// free gives back what was counted; connection is "" for what did not wait.
func (a *answers) free(connection string, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.give(connection, bytes)
}

// give is free. The caller holds mu.
func (a *answers) give(connection string, bytes int64) {
	if bytes == 0 {
		return
	}
	a.bytes -= bytes
	a.sources.Hold(connection, -bytes)
	if of := a.unread[connection]; connection != "" && of != nil {
		if of.bytes -= bytes; of.bytes == 0 {
			delete(a.unread, connection)
		} else {
			of.reads(bytes, time.Now())
		}
	}
	a.wake()
}

// reads notes that so many bytes were read: they are good for as long as they take, in whole seconds, to which also
// small messages come together, and count for no longer than one message of their size does.
func (of *account) reads(bytes int64, now time.Time) {
	if of.due.Before(now) {
		of.due = now
	}
	of.read += bytes
	of.due = of.due.Add(paced(of.read))
	of.read %= unreadPace
	if most := now.Add(lyingFor(bytes)); of.due.After(most) {
		of.due = most
	}
}

// lies notes that a message which was counted is in gRPC.
func (a *answers) lies(c *counted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.unread[c.connection]
	c.since, c.at = time.Now(), len(of.lying)
	of.lying = append(of.lying, c)
}

// rises takes a message from those that can be ended. The caller holds mu.
func (a *answers) rises(c *counted) {
	of := a.unread[c.connection]
	if of == nil || c.at >= len(of.lying) || of.lying[c.at] != c {
		return
	}
	last := len(of.lying) - 1
	of.lying[c.at] = of.lying[last]
	of.lying[c.at].at = c.at
	of.lying[last] = nil
	of.lying = of.lying[:last]
}

// wants says that somebody waits until some bytes are free, and returns what is closed then. The caller holds mu.
func (a *answers) wants() (freed <-chan struct{}) {
	a.waiters++
	if a.freed == nil {
		a.freed = make(chan struct{})
	}
	if a.looks == nil {
		a.looks = time.AfterFunc(lyingLook, a.look)
	}
	return a.freed
}

// look has what lies unread for too long ended, and looks again as long as somebody waits.
func (a *answers) look() {
	a.endLate()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks = nil
	if a.waiters > 0 {
		a.collect(time.Now())
		a.looks = time.AfterFunc(lyingLook, a.look)
	}
}

// endLate ends requests of which a message lies unread for too long.
func (a *answers) endLate() {
	a.mu.Lock()
	late := a.late(time.Now())
	a.mu.Unlock()
	for _, c := range late {
		c.ends()
	}
}

// late returns those messages that lie unread for too long, each once: of who has left most first, and no more than
// have to end for half of all to be free. The caller holds mu.
func (a *answers) late(now time.Time) (late []*counted) {
	var slow []*account
	for _, of := range a.unread {
		if len(of.lying) > 0 && !now.Before(of.due) {
			slow = append(slow, of)
		}
	}
	slices.SortFunc(slow, func(a, b *account) int { return cmp.Compare(b.bytes, a.bytes) })
	left := a.bytes - a.going
	for _, of := range slow {
		for _, c := range slices.Clone(of.lying) {
			if left <= a.limit/2 {
				return late
			}
			if now.Sub(c.since) >= lyingFor(c.bytes) {
				left -= c.bytes
				a.rises(c)
				a.going, c.going = a.going+c.bytes, true
				late = append(late, c)
			}
		}
	}
	return late
}
