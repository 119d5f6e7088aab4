package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mimir-kv/mimir/etcdapi"
)

// anyHost is the host of allowed-hosts that allows all.
const anyHost = "*"

// forMonitoring are the paths of what shows metrics and health alone, to whoever gets there.
var forMonitoring = append(etcdapi.PagePatterns(), "/metrics")

// throughSocket reports whether a request came through a socket of this machine, where no browser is.
func throughSocket(r *http.Request) bool {
	at, is := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return is && at.Network() == "unix"
}

// exceptMonitoring is [forHosts] but for what shows metrics and health.
func exceptMonitoring(h http.Handler, allowed *atomic.Pointer[[]string], logger *slog.Logger) http.Handler {
	asked := forHosts(h, allowed, logger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(forMonitoring, r.URL.Path) {
			h.ServeHTTP(w, r)
		} else {
			asked.ServeHTTP(w, r)
		}
	})
}

// forHosts keeps out requests in plaintext that are for no host of a list: a page of a stranger may give its own name
// the address of this node, and what a browser sends here then is, to it, not of another site. With TLS the certificate
// has no such name, and a socket of this machine has no host. An empty list allows all.
func forHosts(h http.Handler, allowed *atomic.Pointer[[]string], logger *slog.Logger) http.Handler {
	log := &refusals{logger: logger}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := *allowed.Load()
		if host := hostname(r.Host); r.TLS == nil && !isHostOf(list, host) && !throughSocket(r) {
			log.tell("a request was refused: it is for no host of allowed-hosts", "host", cut(host),
				"from", r.RemoteAddr)
			http.Error(w, fmt.Sprintf("refused: this node is not known as %q (allowed-hosts)", cut(host)),
				http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isHostOf reports whether a list allows a host. A name may end in a dot, and an address is that however it is written.
func isHostOf(list []string, host string) bool {
	host = strings.TrimSuffix(host, ".")
	at, failed := netip.ParseAddr(host)
	return len(list) == 0 || slices.ContainsFunc(list, func(allowed string) bool {
		if other, err := netip.ParseAddr(allowed); err == nil && failed == nil {
			return at == other
		}
		return allowed == anyHost || strings.EqualFold(strings.TrimSuffix(allowed, "."), host)
	})
}

// hostname returns what a request is for, without a port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	if inner, opens := strings.CutPrefix(host, "["); opens && strings.HasSuffix(inner, "]") {
		return strings.TrimSuffix(inner, "]")
	}
	return host
}

// hostOf says what is wrong with a host of allowed-hosts.
func hostOf(text string) error {
	if text == "" || net.ParseIP(text) == nil && strings.ContainsAny(text, ":/[] ") {
		return fmt.Errorf("allowed-hosts %q: want a name or an IP address, without a scheme and a port", text)
	}
	return nil
}
