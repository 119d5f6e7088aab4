package server

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// fromPages keeps out what a web page has a browser send here: it would do it with the rights of whoever looks at the
// page, or of the machine that it runs on. Nothing here is for pages but the console's. hosts are the names that this
// node is known by; others are refused where a browser says that a page asks, since a page may give any name to any
// address. Pages of origins are let in to the API, as etcd lets in those of its --cors; never to what operators do.
func fromPages(h http.Handler, hosts, origins []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isAPI(r.URL.Path) && len(origins) > 0 {
			w.Header().Add("Vary", "Origin")
			if from := r.Header.Values("Origin"); len(from) == 1 && slices.Contains(origins, from[0]) {
				w.Header().Set("Access-Control-Allow-Origin", from[0])
				w.Header().Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
				w.Header().Set("Access-Control-Allow-Headers", "accept, content-type, authorization")
				h.ServeHTTP(w, r)
				return
			}
		}
		if why := pageIn(r, hosts); why != "" && !visits(r) {
			http.Error(w, "refused: "+why, http.StatusForbidden)
			return
		}
		if orders(r) && !isJSON(r) {
			http.Error(w, fmt.Sprintf("refused: %s wants the header Content-Type: application/json", r.URL.Path),
				http.StatusUnsupportedMediaType)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// visits reports whether a browser goes to the console, from wherever: that page is the same for everybody, stands in
// no frame of another, and what it asks for then is asked by itself.
func visits(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Path == "/console/" && r.Header.Get("Origin") == "" &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// isAPI reports whether a path is one of the JSON gateway, or of what etcd serves beside it and anybody may see.
func isAPI(path string) bool {
	return strings.HasPrefix(path, "/v3/") || strings.HasPrefix(path, "/v3beta/") || path == "/health" ||
		path == "/version"
}

// originOf says what is wrong with the origin of pages, as a browser names it.
func originOf(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || text != u.Scheme+"://"+u.Host {
		return fmt.Errorf("allowed-origins %q: want what a browser says: http://host:port or https://host, with "+
			"nothing behind it", text)
	}
	return nil
}

// orders reports whether a request has an operator's call in it that changes something.
func orders(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/mimir/v1/") && r.Method == http.MethodPost
}

// isJSON reports whether a body is said to be JSON: a form of a page cannot say that without being asked.
func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// pageIn says why a request is a page's, "" if it is none's.
func pageIn(r *http.Request, hosts []string) string {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return "a web page of another site asks for it"
	}
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return ""
	}
	u, err := url.Parse(origins[0])
	if err != nil || len(origins) > 1 || u.Host == "" || u.Host != r.Host {
		return fmt.Sprintf("a web page of %q asks for it", origins[0])
	}
	if host := u.Hostname(); net.ParseIP(host) == nil && host != "localhost" && !slices.Contains(hosts, host) {
		return fmt.Sprintf("this node is not known as %q", host)
	}
	return ""
}

// hostsOf returns the names in lists of addresses.
func hostsOf(lists ...string) (list []string) {
	for _, text := range lists {
		for _, a := range addresses(text) {
			if host := a.Host(); host != "" {
				list = append(list, host)
			}
		}
	}
	return list
}
