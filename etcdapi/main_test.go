package etcdapi_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Nothing of a node, stream or client runs on after its test.
func TestMain(m *testing.M) {
	status := m.Run()
	for until := time.Now().Add(time.Minute); status == 0; {
		err := goleak.Find() // it looks for half a second, in which a busy machine does not end a connection
		if err == nil {
			break
		}
		if time.Now().After(until) {
			fmt.Println(err)
			status = 1
		}
	}
	os.Exit(status)
}
