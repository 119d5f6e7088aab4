package region

import (
	"errors"
	"fmt"
)

// turn is whose turn it is with the storage. It is held over waits for other nodes, where the state of one of them
// takes the place of this one's: in virtual time a mutex would have time wait for whoever waits for it.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// Lock waits for the turn.
func (t turn) Lock() { t <- struct{}{} }

// Unlock gives it to the next one.
func (t turn) Unlock() { <-t }

// inTurn does what its caller took the turn for, and gives the turn to the next one. Behind a failure nothing is done
// (A7), and a step that does not return is one.
func inTurn(a *Applier, do func() error) error {
	defer a.mu.Unlock()
	if a.failed != nil {
		return a.failed
	}
	returned := false
	defer unfinished(&returned, func(why error) { _ = fail(a, why) })
	err := do()
	returned = true
	return err
}

// fail has nothing applied, saved or copied any more (A7), and the node end. The caller has the turn.
func fail(a *Applier, why error) error {
	a.failed = why
	a.config.Fatal(why)
	return why
}

// errUnfinished says that whoever was at the storage, or the storage itself, panicked, or ended the goroutine
// (runtime.Goexit): nobody knows how far it came.
var errUnfinished = errors.New("replication: a step was left in the middle")

// unfinished is deferred, and calls left unless the step has returned. A panic goes on to who runs the goroutine, and
// ends the node there.
func unfinished(returned *bool, left func(why error)) {
	if *returned {
		return
	}
	panicked := recover()
	if panicked == nil {
		left(fmt.Errorf("%w: its goroutine was ended", errUnfinished))
		return
	}
	left(fmt.Errorf("%w: panic: %v", errUnfinished, panicked))
	panic(panicked)
}
