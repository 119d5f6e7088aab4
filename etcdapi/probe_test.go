package etcdapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A check that hangs without words is answered in time, by what it waits for, and is under way once however often it
// is asked for.
func TestAHangingCheckIsBounded(t *testing.T) {
	a := pageServer{API: New(Options{Limits: Limits{RequestTimeout: 20 * time.Millisecond}}), probes: &probes{}}
	begun, disk, over := 0, make(chan struct{}), make(chan struct{})
	local := check{name: "serializable_read", late: lateStore, run: func(context.Context) error {
		begun++
		defer close(over)
		<-disk
		return nil
	}}
	for range 3 {
		w := httptest.NewRecorder()
		a.serveChecks(w, httptest.NewRequest(http.MethodGet, "/livez", nil), "livez", []check{local}, "")
		const want = "[-]serializable_read failed: the store has not read one key for 20ms: " +
			"its disk may stand still\n\n"
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != want {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	close(disk)
	<-over
	if begun != 1 {
		t.Errorf("begun %d times", begun)
	}
}
