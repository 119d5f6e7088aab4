package etcdapi_test

import (
	"os"
	"testing"

	"github.com/mimir-kv/mimir/check/leaks"
)

// Nothing of a node, stream or client runs on after its test.
func TestMain(m *testing.M) { os.Exit(leaks.Run(m)) }
