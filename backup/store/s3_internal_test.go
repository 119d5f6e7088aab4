package store

import (
	"os"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// Nothing here is worth a wait before it is tried again, and little is large.
func TestMain(m *testing.M) {
	minio.DefaultRetryUnit, minio.DefaultRetryCap = time.Millisecond, 10*time.Millisecond
	partBytes = 1 << 20
	os.Exit(m.Run())
}
