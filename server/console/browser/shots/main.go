// Command shots makes pictures of the console for people to look at: of a fleet that is well, of its keys, of one that
// has lost a region, of what a failover cut off and of its replay, of the lists for operators, and of a node that does
// not answer; of certificates that end, of a watch, and of who logs in; on a desktop and a phone, dark and light.
//
//	cd server/console/browser && go run ./shots -to DIR
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/server/console/browser"
)

const patience = 2 * time.Minute

func main() {
	to := flag.String("to", "", "directory for the pictures, which must not be in the repository")
	nodes := flag.Int("nodes", 3, "nodes of each region that loses another")
	part := flag.String("part", "", "failover or secured: only the pictures of that fleet")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *to, *part, *nodes); err != nil {
		fmt.Fprintln(os.Stderr, "shots:", err)
		os.Exit(1)
	}
}

// screens are what is looked at on.
var screens = map[string]browser.Screen{
	"desktop-light": {Width: 1280, Height: 900},
	"desktop-dark":  {Width: 1280, Height: 900, Dark: true},
	"phone-light":   {Width: 390, Height: 844, Phone: true},
	"phone-dark":    {Width: 390, Height: 844, Phone: true, Dark: true},
}

func run(ctx context.Context, to, part string, nodes int) error {
	if to == "" {
		return fmt.Errorf("-to names no directory")
	}
	if part != "" && part != "failover" && part != "secured" {
		return fmt.Errorf("-part %s: it is failover or secured", part)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	path, err := browser.Find()
	if err != nil {
		return err
	}
	b, err := browser.Start(ctx, path)
	if err != nil {
		return err
	}
	defer b.Close()
	dir, err := os.MkdirTemp("", "mimir-shots-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := browser.Build(ctx, dir)
	if err != nil {
		return err
	}
	if part != "secured" {
		if err := ofAFailover(ctx, b, binary, dir, to, nodes); err != nil || part != "" {
			return err
		}
	}
	return secured(ctx, b, binary, filepath.Join(dir, "secured"), to)
}

// ofAFailover takes the pictures of a fleet that votes, and loses regions.
func ofAFailover(ctx context.Context, b *browser.Browser, binary, dir, to string, nodes int) error {
	f, err := browser.NewFleet(ctx, binary, dir, nodes, true)
	if err != nil {
		return err
	}
	defer f.Close()
	v := &views{pages: map[string]*browser.Page{}, to: to}
	defer v.close()
	return v.failover(ctx, b, f)
}

// failover takes the pictures of a fleet that loses one region after the other.
func (v *views) failover(ctx context.Context, b *browser.Browser, f *browser.Fleet) error {
	us, eu := f.Region("us"), f.Region("eu")
	if err := v.open(b, eu.Nodes[0]); err != nil {
		return err
	}
	if err := v.until(ctx, "well", func(s *browser.Seen) bool { return s.State == "well" }); err != nil {
		return err
	}
	writing, done := context.WithCancel(ctx)
	defer done()
	go write(writing, eu.Nodes[0])
	if err := v.until(ctx, "well", func(s *browser.Seen) bool {
		return s.State == "well" && len(s.Regions["us"].Position) > 2
	}); err != nil {
		return err
	}
	if err := v.keys(ctx); err != nil {
		return err
	}
	localfleet.Kill(us.Nodes)
	if err := v.until(ctx, "lost", func(s *browser.Seen) bool {
		return s.State == "wrong" && s.Regions["us"].Role == "unknown"
	}); err != nil {
		return err
	}
	if err := v.order(ctx); err != nil {
		return err
	}
	done()
	for _, p := range v.pages {
		if _, err := browser.Evaluate[bool](p, `(document.getElementById("order").close(), true)`); err != nil {
			return err
		}
	}
	if err := v.replay(ctx, f); err != nil {
		return err
	}
	localfleet.Kill(eu.Nodes)
	return v.until(ctx, "silent", func(s *browser.Seen) bool { return s.State == "silent" })
}

// views are pages on all screens.
type views struct {
	pages map[string]*browser.Page
	to    string
}

func (v *views) open(b *browser.Browser, n *localfleet.Node) error {
	for name, screen := range screens {
		p, err := b.Open(browser.ClientConsole(n), screen)
		if err != nil {
			return err
		}
		v.pages[name] = p
	}
	return nil
}

func (v *views) close() {
	for _, p := range v.pages {
		p.Close()
	}
}

// until waits until every page shows what is wanted, and makes a picture of each.
func (v *views) until(ctx context.Context, state string, ok func(*browser.Seen) bool) error {
	for name, p := range v.pages {
		for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
			s, err := p.See()
			if err != nil {
				return err
			}
			if ok(s) {
				break
			}
			if time.Now().After(deadline) || ctx.Err() != nil {
				return fmt.Errorf("%s does not come to be %s: it is %q", name, state, s.StateText)
			}
		}
		png, err := p.Shot()
		if err != nil {
			return err
		}
		file := filepath.Join(v.to, state+"-"+name+".png")
		if err := os.WriteFile(file, png, 0o644); err != nil {
			return err
		}
		fmt.Println(file)
	}
	return nil
}

// keys lists keys on every page, and opens the first. Nothing is watched: a browser opens six connections to a node,
// and the pages have four.
func (v *views) keys(ctx context.Context) error {
	return v.steps(ctx, "keys",
		`document.getElementById("keys-form").requestSubmit(), false`,
		`document.querySelector("#keys button") !== null`,
		`document.querySelector("#keys button").click(), false`,
		`!document.getElementById("key-older").disabled`,
		`document.getElementById("key-older").click(), false`,
		`document.querySelectorAll("#key-versions tr").length > 5`)
}

// steps does one after the other on every page: one that ends in false once, any other until it is so. Then it makes a
// picture of each.
func (v *views) steps(ctx context.Context, state string, steps ...string) error {
	for _, p := range v.pages {
		for _, step := range steps {
			for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
				ok, err := browser.Evaluate[bool](p, step)
				if err != nil {
					return err
				}
				if ok || strings.HasSuffix(step, ", false") {
					break
				}
				if time.Now().After(deadline) || ctx.Err() != nil {
					return fmt.Errorf("%s is not shown: %s", state, step)
				}
			}
		}
	}
	return v.until(ctx, state, func(*browser.Seen) bool { return true })
}

// order logs in on every page, and opens what a failover would do.
func (v *views) order(ctx context.Context) error {
	const logIn = `(sessionStorage.setItem("mimir-operator-token", %q), location.reload(), true)`
	const open = `(document.getElementById("move-to").value = "eu",
		document.querySelector("[data-order=failover]").click(), true)`
	for _, p := range v.pages {
		if _, err := browser.Evaluate[bool](p, fmt.Sprintf(logIn, browser.Token)); err != nil {
			return err
		}
	}
	err := v.until(ctx, "lost", func(s *browser.Seen) bool {
		return s.State == "wrong" && s.Regions["us"].Role == "unknown"
	})
	for _, p := range v.pages {
		if err == nil {
			_, err = browser.Evaluate[bool](p, open)
		}
	}
	if err != nil {
		return err
	}
	return v.until(ctx, "order", func(*browser.Seen) bool { return true })
}

// write writes a key again and again, so that lines move.
func write(ctx context.Context, n *localfleet.Node) {
	for i := 0; ctx.Err() == nil; i++ {
		answer, err := http.Post("http://"+n.Config.ListenClient+"/v3/kv/put", "application/json",
			strings.NewReader(`{"key":"aw==","value":"dg=="}`))
		if err == nil {
			answer.Body.Close()
		}
		time.Sleep(time.Duration(5+i%40) * time.Millisecond)
	}
}
