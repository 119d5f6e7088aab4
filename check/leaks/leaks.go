// Package leaks is for the TestMain of packages whose tests leave nothing running. It knows no other room.
package leaks

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines that are about to end may take: on a busy machine connections close slowly.
const patience = time.Minute

// Run runs the tests of a package and returns the exit status. Where they passed it waits until no goroutine is left
// but the caller's, and prints those that go on.
func Run(m *testing.M) (status int) {
	status = m.Run()
	for until := time.Now().Add(patience); status == 0; {
		err := goleak.Find() // it looks for half a second
		if err == nil {
			break
		}
		if time.Now().After(until) {
			fmt.Println(err)
			status = 1
		}
	}
	return status
}
