// Package reread has files looked at again from time to time, by whoever needs what is in them.
//
// It promises that nobody waits for a disk that hangs but who began to look, and he for [Patience] at most: all others
// go on with what was read before, also while it hangs.
//
// It leaves to others what is read, and how that is shared.
package reread

import (
	"sync"
	"time"
)

// Patience is how long who began to look waits for the disk.
const Patience = 2 * time.Second

// Turn is whose turn it is to look. The zero value has it looked at once. It is safe for concurrent use.
type Turn struct {
	// Hung is called when Patience was over before a look had ended, once for each. It is set before the first. May be
	// nil.
	Hung func()

	mu     sync.Mutex
	looked time.Time
	looks  bool // somebody does
}

// Looked says that it was looked.
func (t *Turn) Looked(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looked = now
}

// Look calls look if that was not done for so long, and nobody does it just now. It returns when that has ended, or
// Patience is over: then look ends by itself.
func (t *Turn) Look(now time.Time, every time.Duration, look func()) {
	t.mu.Lock()
	due := !t.looks && now.Sub(t.looked) >= every
	if due {
		t.looked, t.looks = now, true
	}
	t.mu.Unlock()
	if !due {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.over()
		look()
	}()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		if t.Hung != nil {
			t.Hung()
		}
	}
}

func (t *Turn) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looks = false
}
