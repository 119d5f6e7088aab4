// Package clock is the seam through which everything under replication sees time.
//
// It promises nothing but the interface: decisions never call package time themselves, so a test or a simulation can
// give every node a clock of its own. Inside a testing/synctest bubble [Real] is virtual already.
package clock

import "time"

// Clock tells the time and makes timers. It is safe for concurrent use.
type Clock interface {
	// Now returns the wall time, with a monotonic reading where there is one.
	Now() time.Time
	// NewTimer returns a timer that fires once after d.
	NewTimer(d time.Duration) Timer
	// NewTicker returns a ticker that fires every d, which must be positive; slow receivers miss ticks.
	NewTicker(d time.Duration) Timer
}

// Timer is a timer or a ticker made by a Clock.
type Timer interface {
	C() <-chan time.Time
	// Stop prevents further firing; nothing is left in the channel afterwards.
	Stop()
	// Reset makes it fire after (or every) d from now.
	Reset(d time.Duration)
}

// Real is the machine's clock.
var Real Clock = real{}

type real struct{}

func (real) Now() time.Time                  { return time.Now() }
func (real) NewTimer(d time.Duration) Timer  { return timer{time.NewTimer(d)} }
func (real) NewTicker(d time.Duration) Timer { return ticker{time.NewTicker(d)} }

type timer struct{ t *time.Timer }

func (t timer) C() <-chan time.Time   { return t.t.C }
func (t timer) Stop()                 { t.t.Stop() }
func (t timer) Reset(d time.Duration) { t.t.Reset(d) }

type ticker struct{ t *time.Ticker }

func (t ticker) C() <-chan time.Time   { return t.t.C }
func (t ticker) Stop()                 { t.t.Stop() }
func (t ticker) Reset(d time.Duration) { t.t.Reset(d) }
