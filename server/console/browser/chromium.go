package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// ErrNoChromium says that there is no Chromium here.
var ErrNoChromium = errors.New("no Chromium is installed (Debian: apt-get install chromium), and CHROMIUM names none")

// names are what Chromium is called.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"}

// Find returns where Chromium is: what the variable CHROMIUM names, or what is in the path.
func Find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoChromium
}

// Browser is one Chromium. Close ends it.
type Browser struct {
	ctx   context.Context
	Close func()
}

// Start starts the Chromium at a path. It ends with ctx, too.
func Start(ctx context.Context, path string) (*Browser, error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path))
	if os.Getuid() == 0 { // its sandbox does not work for root
		options = append(options, chromedp.NoSandbox)
	}
	allocated, end := chromedp.NewExecAllocator(ctx, options...)
	first, cancel := chromedp.NewContext(allocated)
	if err := chromedp.Do(first); err != nil {
		cancel()
		end()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return &Browser{first, func() { cancel(); end() }}, nil
}

// Screen is what a page is looked at on. Width and Height are in CSS pixels.
type Screen struct {
	Width, Height int64
	Phone, Dark   bool
}

// Page is a page in a tab of its own. Its methods are not for concurrent use.
type Page struct {
	ctx   context.Context
	Close func()

	mu       sync.Mutex
	problems []string
}

// Open opens an address on a screen.
func (b *Browser) Open(url string, s Screen) (*Page, error) {
	p := &Page{}
	origin := url[:strings.Index(url+"/", "/console/")+1]
	p.ctx, p.Close = chromedp.NewContext(b.ctx, chromedp.WithListener(func(event any) { p.note(event, origin) }))
	scheme, scale := "light", 1.0
	if s.Dark {
		scheme = "dark"
	}
	if s.Phone {
		scale = 2
	}
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
	}}
	size := emulation.SetDeviceMetricsOverrideParams{
		Width: s.Width, Height: s.Height, DeviceScaleFactor: scale, Mobile: s.Phone,
	}
	_, err := chromedp.Call(p.ctx, network.Enable, network.EnableParams{})
	if err == nil {
		_, err = chromedp.Call(p.ctx, log.Enable, cdp.Empty{})
	}
	if err == nil {
		_, err = chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, size)
	}
	if err == nil {
		_, err = chromedp.Call(p.ctx, emulation.SetEmulatedMedia, media)
	}
	if err == nil {
		err = chromedp.Do(p.ctx, chromedp.Navigate(url))
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	return p, nil
}

// note keeps what goes wrong in the page, and what it asks of others than its origin.
func (p *Page) note(event any, origin string) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text = "exception: " + e.ExceptionDetails.Text
		if o := e.ExceptionDetails.Exception; o != nil {
			text += " " + o.Description
		}
	case *log.EventEntryAdded:
		// That a node does not answer, or refuses, is what the page tells; the browser tells it too.
		if e.Entry.Level == log.EntryLevelError && e.Entry.Source != log.EntrySourceNetwork {
			text = fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, origin) && !strings.HasPrefix(url, "data:") {
			text = "it asks " + url
		}
	}
	if text != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.problems = append(p.problems, text)
	}
}

// Problems are exceptions, what the policy forbade, and what was asked of others than the node, so far.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.problems...)
}

// Evaluate returns what an expression is in the page.
func Evaluate[T any](p *Page, expression string) (T, error) {
	return chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
}

// Press presses keys, as kb has them; what has the focus takes them.
func (p *Page) Press(keys string) error { return chromedp.Do(p.ctx, chromedp.KeyEvent(keys)) }

// Focus gives the focus to what a selector of CSS names.
func (p *Page) Focus(selector string) error {
	return chromedp.Do(p.ctx, chromedp.Focus(chromedp.CSS(selector)))
}

// Shot is the whole page as PNG.
func (p *Page) Shot() (png []byte, err error) {
	beyond := true
	whole := page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond}
	shot, err := chromedp.Call(p.ctx, page.CaptureScreenshot, whole)
	return shot.Data, err
}
