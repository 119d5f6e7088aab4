package admin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Who cannot log in is told why, in the words of the node.
func TestWhyALoginFailsIsTold(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v3/auth/authenticate" {
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"code":3,"message":"authentication failed","details":[]}`) //nolint:errcheck // a test
			return
		}
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"error":"needs the operator's right"}`) //nolint:errcheck // a test
	}))
	defer s.Close()
	c, err := NewClient([]string{s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.WithUser("root", "hush").Tails(t.Context())
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || strings.Contains(err.Error(), "hush") ||
		!strings.Contains(err.Error(), "log in as root: authentication failed") {
		t.Errorf("%v", err)
	}
}
