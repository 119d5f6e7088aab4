package server

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// anyHost is the host of allowed-hosts that allows all.
const anyHost = "*"

// forHosts keeps out requests in plaintext that are for no host of a list: a page of a stranger may give its own name
// the address of this node, and what a browser sends here then is, to it, not of another site. With TLS the certificate
// has no such name. An empty list allows all.
func forHosts(h http.Handler, allowed *atomic.Pointer[[]string], logger *slog.Logger) http.Handler {
	log := &refusals{logger: logger}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		list := *allowed.Load()
		if host := hostname(r.Host); r.TLS == nil && len(list) > 0 && !slices.ContainsFunc(list, func(a string) bool {
			return a == anyHost || strings.EqualFold(a, host)
		}) {
			log.tell("a request was refused: it is for no host of allowed-hosts", "host", cut(host),
				"from", r.RemoteAddr)
			http.Error(w, fmt.Sprintf("refused: this node is not known as %q (allowed-hosts)", cut(host)),
				http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// hostname returns what a request is for, without a port.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// hostOf says what is wrong with a host of allowed-hosts.
func hostOf(text string) error {
	if text == "" || net.ParseIP(text) == nil && strings.ContainsAny(text, ":/[] ") {
		return fmt.Errorf("allowed-hosts %q: want a name or an IP address, without a scheme and a port", text)
	}
	return nil
}
