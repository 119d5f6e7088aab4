package ballot

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain has garbage collected seldom: the searches leave much, and hold little.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}
