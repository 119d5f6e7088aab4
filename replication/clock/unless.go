package clock

import "time"

// Unless runs do and returns what comes of it, unless late says so at one of the looks, which are each apart, before do
// has returned: then do is left to itself, which has to end by what the caller does next, and left is true. It is for
// what waits for somebody who is there and does nothing, and whom no context ends. A panic of do is the caller's, as
// long as do is not left to itself.
func Unless(c Clock, each time.Duration, late func() bool, do func() error) (left bool, err error) {
	done, broken := make(chan error, 1), make(chan any, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				broken <- p
			}
		}()
		done <- do()
	}()
	ticker := c.NewTicker(each)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return false, err
		case p := <-broken:
			panic(p) // where it is known what to do about it
		case <-ticker.C():
			if late() {
				return true, nil
			}
		}
	}
}
