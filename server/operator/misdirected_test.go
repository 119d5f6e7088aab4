package operator

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// blank is a node that has no users yet, of a fleet that may have some.
type blank struct{}

func (blank) Operator(context.Context, *Caller) (string, error) {
	return "", status.Error(codes.FailedPrecondition, "no history yet: ask region eu")
}

func (blank) Used() bool { return true }

// Who asks a node that does not know who may do that is told so, and not that he may not.
func TestWhoMayIsNotKnownHere(t *testing.T) {
	tokens, _ := tokensIn(t, "alice "+aliceToken)
	for _, links := range [][]Link{{blank{}}, {tokens, blank{}}} {
		audit, err := OpenAudit(AuditOptions{Logger: silent()})
		if err != nil {
			t.Fatal(err)
		}
		defer audit.Close()
		const pattern = "POST /mimir/v1/failover"
		h := NewGate(audit, links...).HTTP(pattern, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			t.Error("it was let in")
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/mimir/v1/failover", nil))
		if w.Code != http.StatusMisdirectedRequest {
			t.Errorf("%d links: %d %s", len(links), w.Code, w.Body)
		}
	}
}
