package console

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/server/plain"
)

// Options of a console. All must be set but the bounds.
type Options struct {
	// Look makes a picture of the fleet now. It is called by one goroutine at a time, and gives up when ctx ends; one
	// that does not is not waited for at the end for long.
	Look func(ctx context.Context) (*Picture, error)
	// Greeting is what a viewer is told first.
	Greeting func() Greeting
	// Settings are those in force.
	Settings func() []Setting
	// Slow are the last requests that took long, the newest first.
	Slow func() []Slow

	// Every is how often a picture is made while somebody looks. Default DefaultEvery.
	Every time.Duration
	// Most is how many streams there are at a time of those who are not known to be operators. Default DefaultMost.
	Most int
	// MostEach is how many of those come from one address. Default DefaultMostEach.
	MostEach int
	// MostOperators is how many streams there are at a time of operators, beside the others. Default
	// DefaultMostOperators.
	MostOperators int
	// Lasts is how long a stream lasts, after which the page asks anew, and is asked for its right again. Default
	// DefaultLasts.
	Lasts time.Duration
}

// Bounds of a console.
const (
	DefaultEvery         = 2 * time.Second
	DefaultMost          = 32
	DefaultMostEach      = 8
	DefaultMostOperators = 16
	DefaultLasts         = 10 * time.Minute
)

// Greeting is what a viewer is told of the node that serves the page.
type Greeting struct {
	Node    string `json:"node"`
	Region  string `json:"region"`
	Version string `json:"version"`
	// Now is what the clock of the node says, by which pictures tell their time.
	Now time.Time `json:"now"`
	// Everybody says that no rule says who is an operator, so that nobody needs to log in.
	Everybody bool          `json:"everybody"`
	Every     time.Duration `json:"everyNanos"`
}

// Console serves the page. It is safe for concurrent use.
type Console struct {
	options Options
	watch   *watch
	closing chan struct{}

	anybody, operators places // of the watch
	closed             sync.Once
}

// New returns a console that asks nothing before somebody looks.
func New(o Options) *Console {
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.Most == 0 {
		o.Most = DefaultMost
	}
	if o.MostEach == 0 {
		o.MostEach = DefaultMostEach
	}
	if o.MostOperators == 0 {
		o.MostOperators = DefaultMostOperators
	}
	if o.Lasts == 0 {
		o.Lasts = DefaultLasts
	}
	c := &Console{options: o, closing: make(chan struct{})}
	c.watch = newWatch(c.look, o.Every)
	c.anybody = places{most: o.Most, each: o.MostEach}
	c.operators = places{most: o.MostOperators, each: o.MostOperators}
	return c
}

// Close ends every stream and gives up the look under way, for which it waits a second at most.
func (c *Console) Close() {
	c.closed.Do(func() { close(c.closing) })
	c.watch.close()
}

// look makes what viewers are sent of one look: a picture, or why there is none.
func (c *Console) look(ctx context.Context) frame {
	p, err := c.options.Look(ctx)
	if err != nil {
		return event("silence", map[string]string{"error": plain.Text(err)})
	}
	return event("picture", p)
}

// event is one of server-sent events.
func event(kind string, v any) frame {
	text, err := json.Marshal(v)
	if err != nil { // a picture has nothing that cannot be JSON
		kind, text = "silence", []byte(`{"error":"the picture cannot be told"}`)
	}
	return fmt.Appendf(nil, "event: %s\ndata: %s\n\n", kind, text)
}

// Events serves pictures as they are made, until the viewer leaves, DefaultLasts is over or the console is closed.
func (c *Console) Events(w http.ResponseWriter, r *http.Request) { c.events(w, r, &c.anybody) }

// OperatorEvents is [Console.Events] for operators, whose places nobody else takes: the caller has asked for the right.
func (c *Console) OperatorEvents(w http.ResponseWriter, r *http.Request) {
	c.events(w, r, &c.operators)
}

// from returns the address that a request came from, without the port; of IPv6 the network of 64 bits, all of which one
// machine may have.
func from(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil { // of a socket
		return r.RemoteAddr
	}
	a := at.Addr().Unmap()
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().String()
	}
	return a.String()
}

func (c *Console) events(w http.ResponseWriter, r *http.Request, in *places) {
	v, err := c.watch.join(in, from(r), time.Now())
	if err != nil {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	defer c.watch.leave(v)
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	protect(w)
	w.Header().Set("Cache-Control", "no-store")
	greeting := c.options.Greeting()
	greeting.Every, greeting.Now = c.options.Every, time.Now()
	over := time.NewTimer(c.options.Lasts)
	defer over.Stop()
	connection := http.NewResponseController(w)
	for next := event("greeting", greeting); ; {
		if _, err := w.Write(next); err != nil {
			return
		}
		if connection.Flush() != nil {
			return
		}
		select {
		case next = <-v.frames:
		case <-r.Context().Done():
			return
		case <-c.closing:
			return
		case <-over.C:
			return
		}
	}
}

// Settings serves the settings in force.
func (c *Console) Settings(w http.ResponseWriter, _ *http.Request) {
	list(w, c.options.Settings())
}

// Slow serves the last requests that took long.
func (c *Console) Slow(w http.ResponseWriter, _ *http.Request) { list(w, c.options.Slow()) }

// list serves what is asked for once.
func list(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	protect(w)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Write(text) //nolint:errcheck // the viewer is gone
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) //nolint:errcheck // the viewer is gone
}

// policy lets a browser run the modules of this page and ask this node, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// protect says what a browser may do with an answer.
func protect(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

//go:embed page
var embedded embed.FS

// file is one of the page, with what tells a browser whether it has it.
type file struct {
	text []byte
	tag  string
}

// files are those of the page, by name.
var files = func() map[string]file {
	all := map[string]file{}
	entries, err := fs.ReadDir(embedded, "page")
	if err != nil {
		panic(err) // it is part of the binary
	}
	for _, e := range entries {
		text, err := embedded.ReadFile("page/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(text)
		all[e.Name()] = file{text, `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	return all
}()

// index is what /console/ shows.
const index = "index.html"

// kinds are those of the files, which do not depend on the machine that the node runs on.
var kinds = map[string]string{
	"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
	"svg": "image/svg+xml",
}

// Page serves the files of the page, under the prefix /console/.
func (c *Console) Page(w http.ResponseWriter, r *http.Request) {
	protect(w)
	name := strings.TrimPrefix(r.URL.Path, "/console/")
	if name == "" {
		name = index
	}
	f, there := files[name]
	if !there {
		refuse(w, http.StatusNotFound, errors.New("the console has no such file"))
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // asked each time whether it is what the browser has
	w.Header().Set("ETag", f.tag)
	w.Header().Set("Content-Type", kinds[name[strings.LastIndexByte(name, '.')+1:]])
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.text))
}
