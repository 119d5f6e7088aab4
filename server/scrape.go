package server

import (
	"maps"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mimir-kv/mimir/etcdapi/share"
)

const (
	// mostScrapes is for how many at a time metrics are gathered.
	mostScrapes = 16
	// scrapedBytes is how much of those may wait for who asked for them.
	scrapedBytes = 32 << 20
)

// scraping serves metrics. They are gathered into memory, and held there until they are taken, in a room that is shared
// by address: else a few who take nothing would keep everybody from seeing how the node is.
func scraping(registry prometheus.Gatherer) http.Handler {
	gathered := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: mostScrapes})
	waits := share.New(scrapedBytes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := &taken{header: http.Header{}, code: http.StatusOK}
		gathered.ServeHTTP(page, r)
		release, ok := waits.Try(r.RemoteAddr, int64(page.body.Len()))
		if !ok {
			http.Error(w, "too many metrics wait for who asked for them", http.StatusServiceUnavailable)
			return
		}
		defer release()
		maps.Copy(w.Header(), page.header)
		w.WriteHeader(page.code)
		w.Write(page.body.Bytes()) //nolint:errcheck // the client is gone
	})
}
