package admin

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A node that does not know yet who may do that has not answered: another endpoint is asked, also for an order, of
// which nothing was done.
func TestANodeThatKnowsNobodyIsNotTheAnswer(t *testing.T) {
	orders := 0
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			io.WriteString(w, "{}") //nolint:errcheck // a test
			return
		}
		orders++
		w.WriteHeader(http.StatusMisdirectedRequest)
		io.WriteString(w, `{"error":"no history yet: ask region eu"}`) //nolint:errcheck // a test
	}))
	defer empty.Close()
	f := &fake{}
	if _, err := serve(t, f, empty.URL).Switchover(t.Context(), "eu"); err != nil || orders != 1 || f.moves != 1 {
		t.Errorf("%v, %d orders, %d moves", err, orders, f.moves)
	}

	gone := httptest.NewServer(nil)
	gone.Close()
	for _, endpoints := range [][]string{{empty.URL}, {empty.URL, gone.URL}, {gone.URL, empty.URL}} {
		c, err := NewClient(endpoints, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Switchover(t.Context(), "eu")
		var refused *Error
		told := errors.As(err, &refused) && strings.Contains(err.Error(), "ask region eu")
		if !told || errors.Is(err, ErrNoEndpoint) {
			t.Errorf("of %d endpoints: %v", len(endpoints), err)
		}
		if len(endpoints) > 1 && !strings.Contains(err.Error(), "refused") {
			t.Errorf("nothing is said of who does not answer: %v", err)
		}
	}
}
