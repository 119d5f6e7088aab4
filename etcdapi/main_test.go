package etcdapi_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing of a node, stream or client runs on after its test.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
