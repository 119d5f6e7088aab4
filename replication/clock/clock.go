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
	// Elapsed is the lease clock: the time since some fixed moment of this machine's life, the time for which it was
	// suspended included where the system can tell. Only differences mean anything.
	Elapsed() time.Duration
	// NewTimer returns a timer that fires once after d.
	NewTimer(d time.Duration) Timer
	// NewTicker returns a ticker that fires every d, which must be positive; slow receivers miss ticks.
	NewTicker(d time.Duration) Timer
}

// Ago returns how long ago at was, by the clock that says more, of both as a Clock's Now tells them: the monotonic
// reading stands still while the machine is suspended, and the wall clock may be set back.
func Ago(at, now time.Time) time.Duration { return max(now.Sub(at), now.Round(0).Sub(at.Round(0))) }

// Timer is a timer or a ticker made by a Clock.
type Timer interface {
	C() <-chan time.Time
	// Stop prevents further firing; nothing is left in the channel afterwards.
	Stop()
	// Reset makes it fire after (or every) d from now.
	Reset(d time.Duration)
}

// Real is the machine's clock. Its lease clock is not virtual inside a bubble; that of [Unsuspended] is.
var Real Clock = real{}

// Unsuspended is Real with the wall clock as its lease clock: right in a bubble, where nothing sets it, and nowhere
// else.
var Unsuspended Clock = unsuspended{}

var began = time.Now()

type real struct{}

type unsuspended struct{ real }

func (unsuspended) Elapsed() time.Duration { return time.Since(time.Unix(0, 0)) }

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
