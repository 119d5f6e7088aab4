package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// reluctant is who takes nothing of a large answer until he is told to.
type reluctant struct {
	*httptest.ResponseRecorder
	takes chan struct{}
}

func (t reluctant) Write(p []byte) (int, error) {
	if len(p) > 1<<10 {
		<-t.takes
	}
	return t.ResponseRecorder.Write(p)
}

// Who asks for metrics and takes nothing keeps nobody else from them, and what is held for him is bounded.
func TestWhoTakesNoMetricsKeepsNobodyFromThem(t *testing.T) {
	virtual.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		metric := prometheus.NewGauge(prometheus.GaugeOpts{Name: "a", Help: strings.Repeat("x", 256<<10)})
		registry.MustRegister(metric)
		h := scraping(registry)
		ask := func(from string, w http.ResponseWriter) (done chan bool) {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.RemoteAddr = from
			done = make(chan bool, 1)
			go func() {
				h.ServeHTTP(w, r)
				done <- true
			}()
			return done
		}
		takes := make(chan struct{})
		var asked []chan bool
		for range 200 {
			asked = append(asked, ask("10.0.0.1:1", reluctant{httptest.NewRecorder(), takes}))
			virtual.Wait()
		}
		other := httptest.NewRecorder()
		done := ask("10.0.0.2:1", other)
		virtual.Wait()
		if len(done) == 0 || other.Code != http.StatusOK || other.Body.Len() < 256<<10 {
			t.Errorf("another is answered %d with %d bytes", other.Code, other.Body.Len())
		}
		waits := 0
		for _, done := range asked {
			waits += 1 - len(done)
		}
		if waits == 0 || waits*(256<<10) > scrapedBytes {
			t.Errorf("of %d who take nothing what %d asked for is held", len(asked), waits)
		}
		close(takes)
		virtual.Wait()
		for _, done := range asked {
			<-done
		}
		again := httptest.NewRecorder()
		<-ask("10.0.0.1:1", again)
		if again.Code != http.StatusOK {
			t.Errorf("who took what he asked for is answered %d", again.Code)
		}
	})
}
