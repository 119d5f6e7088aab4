package etcdapi

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication"
)

// TestWhatTheLagGateRefusesIsToldAsThat, with a code that clients do not try again by themselves, and with which region
// is behind.
func TestWhatTheLagGateRefusesIsToldAsThat(t *testing.T) {
	err := fmt.Errorf("put: %w: region eu is 9 bytes of log and 1s behind", replication.ErrLagging)
	s := status.Convert((&API{}).statusOf(t.Context(), err))
	if s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "region eu is 9 bytes") {
		t.Errorf("%v: %s", s.Code(), s.Message())
	}
}
