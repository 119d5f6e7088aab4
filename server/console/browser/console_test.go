package browser

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/mimir-kv/mimir/localfleet"
)

var requireChromium = flag.Bool("require-chromium", false, "fail where there is no Chromium")

// binaries is where mimir is built, for all tests.
var binaries string

var built = sync.OnceValues(func() (string, error) { return Build(context.Background(), binaries) })

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mimir-console-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaries = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// patience is for what takes seconds when the machine has nothing else to do.
const patience = 2 * time.Minute

// visit is somebody who looks at a console, and keeps all that it showed.
type visit struct {
	t     *testing.T
	fleet *Fleet
	page  *Page
	seen  []*Seen // every picture that was another than the one before
}

// until looks until what is shown is as wanted.
func (v *visit) until(what string, ok func(s *Seen) bool) *Seen {
	v.t.Helper()
	var last *Seen
	began := time.Now()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		s, err := v.page.See()
		if err != nil {
			v.t.Fatal(err)
		}
		if last == nil || describe(last) != describe(s) {
			v.seen = append(v.seen, s)
		}
		if last = s; ok(s) {
			v.t.Logf("%5.1f s: %s", time.Since(began).Seconds(), what)
			return s
		}
	}
	v.t.Fatalf("the page does not show within %s: %s; it shows\n%s", patience, what, describe(last))
	return nil
}

func describe(s *Seen) string {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// put writes a key by way of a node.
func put(t *testing.T, n *localfleet.Node, value string) {
	t.Helper()
	answer, err := http.Post("http://"+n.Config.ListenClient+"/v3/kv/put", "application/json",
		strings.NewReader(`{"key":"aw==","value":"`+value+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("put: %s", answer.Status)
	}
}

// opened opens the console of a node on a screen.
func opened(t *testing.T, b *Browser, f *Fleet, n *localfleet.Node, s Screen) *visit {
	t.Helper()
	p, err := b.Open(Console(n), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &visit{t: t, fleet: f, page: p}
}

func started(t *testing.T, flags ...string) (*Browser, *Fleet) {
	t.Helper()
	path, err := Find()
	if errors.Is(err, ErrNoChromium) && !*requireChromium {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := Start(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFleet(t.Context(), binary, t.TempDir(), 1, false, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return b, f
}

var desktop, phone = Screen{Width: 1280, Height: 900}, Screen{Width: 360, Height: 740, Phone: true, Dark: true}

// A region is lost, another takes over by the commands that the page shows, and the first comes back. What the page
// showed all the while is what happened.
func TestTheConsoleThroughAFailover(t *testing.T) {
	b, f := started(t)
	us, eu := f.Region("us").Nodes[0], f.Region("eu").Nodes[0]
	v := opened(t, b, f, eu, desktop)
	v.until("the fleet is well, us is primary", func(s *Seen) bool {
		return s.State == "well" && s.Primary == "us" && s.Epoch == "1" && len(s.Writes()) == 1
	})
	began := len(v.seen) // until then nobody was primary, or nothing known
	const puts = 5
	for i := range puts {
		put(t, eu, fmt.Sprintf("%04d", i))
	}
	both := v.until("both regions have all writes, and losing one loses none", func(s *Seen) bool {
		a, b := s.Regions["us"], s.Regions["eu"]
		return a.Position == strconv.Itoa(puts) && b.Position == a.Position && a.Revision == strconv.Itoa(puts+1) &&
			b.Revision == a.Revision && a.RegionLoss == "none" && b.RegionLoss == "none"
	})
	v.sameAsStatus(both)

	before := len(v.seen)
	us.Kill()
	lost := v.until("us does not answer, and what helps", func(s *Seen) bool {
		return s.State == "wrong" && s.Regions["us"].Role == "unknown" && len(s.Commands) > 0
	})
	for name, got := range map[string]string{
		"position": lost.Regions["us"].Position, "revision": lost.Regions["us"].Revision,
		"leader": lost.Regions["us"].Leader,
	} {
		if got != "-" {
			t.Errorf("the %s of a region that does not answer is shown as %q", name, got)
		}
	}
	if lag := lost.Regions["us"].Lag; lag != "unknown" || !slices.ContainsFunc(lost.Wrong, func(text string) bool {
		return strings.HasPrefix(text, "us: no node answers")
	}) || !strings.Contains(lost.Regions["us"].Lines["Commands a second"], "now not known") {
		t.Errorf("a region that does not answer: %s", describe(lost))
	}

	if !v.says("primary-away", "nobody of it answers") {
		t.Error("the head names a primary that is lost as if it were there")
	}

	failover := lost.Commands[0]
	if !strings.HasPrefix(failover, "mimir failover --to eu --endpoints ") {
		t.Fatalf("the page shows %q first", lost.Commands)
	}
	if text, err := f.Run(t.Context(), failover); err == nil || !strings.Contains(text, "force") {
		t.Errorf("without force: %v %s", err, text)
	}
	if s, err := v.page.See(); err != nil || s.Primary != "us" || len(s.Writes()) != 0 {
		t.Errorf("somebody took over without force: %v %s", err, describe(s))
	}
	if text, err := f.Run(t.Context(), failover, "--force"); err != nil {
		t.Fatalf("%s --force: %v %s", failover, err, text)
	}
	v.until("eu is primary", func(s *Seen) bool {
		return s.Primary == "eu" && s.Epoch == "2" && slices.Equal(s.Writes(), []string{"eu"})
	})
	put(t, eu, "more")
	v.until("the write after it", func(s *Seen) bool { return s.Regions["eu"].Position == strconv.Itoa(puts+1) })

	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	back := v.until("us follows, and the fleet is well", func(s *Seen) bool {
		return s.State == "well" && s.Regions["us"].Role == "secondary" && s.Regions["us"].RegionLoss == "none" &&
			s.Regions["us"].Position == s.Regions["eu"].Position && s.Regions["us"].Doing == "follows eu"
	})
	v.sameAsStatus(back)
	v.toldNoLies(began, before)

	eu.Kill()
	v.until("nobody answers any more", func(s *Seen) bool {
		return s.State == "silent" && strings.Contains(s.StateText, "does not answer")
	})
	if old, err := Evaluate[[]string](v.page, `[...document.querySelectorAll(".asof")].filter((p) =>
		p.getClientRects().length && !/^Not known now: this was so \d+ s ago\.$/.test(p.textContent) ||
		!p.getClientRects().length && !p.closest("section[hidden]"))
			.map((p) => p.outerHTML)`); err != nil || len(old) > 0 {
		t.Errorf("shown as if it were so now: %q, %v", old, err)
	}
	if s, err := v.page.See(); err != nil || !slices.ContainsFunc(s.Wrong, func(text string) bool {
		return strings.HasPrefix(text, "Nothing newer is known: this node does not answer")
	}) || slices.Contains(s.Wrong, "Nothing is known to be wrong.") || !strings.HasPrefix(s.Title, "(?)") {
		t.Errorf("while nobody answers: %v %s", err, describe(s))
	}
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// sameAsStatus compares what is shown of a fleet at rest with what mimir status says.
func (v *visit) sameAsStatus(s *Seen) {
	v.t.Helper()
	text, err := v.fleet.Run(v.t.Context(), "mimir status -o json --endpoints "+
		v.fleet.Region("eu").Nodes[0].Config.ListenClient)
	if err != nil {
		v.t.Fatalf("%v: %s", err, text)
	}
	var report struct {
		Primary string
		Epoch   uint64
		Regions []struct {
			Name, Role, Leader        string
			Epoch, Position, Revision uint64
			Survivable                bool
		}
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		v.t.Fatal(err)
	}
	if s.Primary != report.Primary || s.Epoch != fmt.Sprint(report.Epoch) || len(s.Regions) != len(report.Regions) {
		v.t.Errorf("shown\n%s\nstatus\n%s", describe(s), text)
	}
	for _, r := range report.Regions {
		shown := s.Regions[r.Name]
		if shown.Role != r.Role || shown.Leader != r.Leader || shown.Epoch != fmt.Sprint(r.Epoch) ||
			shown.Position != fmt.Sprint(r.Position) || shown.Revision != fmt.Sprint(r.Revision) ||
			(shown.RegionLoss == "none") != r.Survivable {
			v.t.Errorf("%s is shown as\n%+v\nand status says\n%+v", r.Name, shown, r)
		}
	}
}

// toldNoLies looks at all that was shown from the picture of number began on: time runs forward, one region at most
// takes writes, and the fleet was not said to be well between the first word of a loss, after picture since, and the
// return of the region.
func (v *visit) toldNoLies(began, since int) {
	v.t.Helper()
	epoch, first := 0, -1
	for i, s := range v.seen {
		if i < began {
			continue
		}
		now, err := strconv.Atoi(s.Epoch)
		if s.State == "waiting" {
			continue
		}
		if err != nil || now < epoch {
			v.t.Errorf("epoch %d, and then %q", epoch, s.Epoch)
		}
		epoch = now
		if len(s.Writes()) > 1 {
			v.t.Errorf("two regions take writes: %s", describe(s))
		}
		if s.Primary != map[int]string{1: "us", 2: "eu"}[now] {
			v.t.Errorf("%s is primary of epoch %d", s.Primary, now)
		}
		if i >= since && first < 0 && s.State == "wrong" {
			first = i
		}
		if s.State == "well" && first >= 0 && i < len(v.seen)-1 && s.Regions["us"].Role == "unknown" {
			v.t.Errorf("the fleet is said to be well without us: %s", describe(s))
		}
	}
	if first < 0 {
		v.t.Error("the loss was never shown")
	}
}

// The page is worked by keyboard, on a phone, and what operators see asks for the right first.
func TestTheConsoleIsForEverybody(t *testing.T) {
	b, f := started(t)
	v := opened(t, b, f, f.Region("us").Nodes[0], phone)
	v.until("the fleet is well", func(s *Seen) bool { return s.State == "well" })
	if wide, err := Evaluate[int](v.page, `document.documentElement.scrollWidth - innerWidth`); err != nil || wide > 0 {
		t.Errorf("the page is %d pixels wider than a phone: %v", wide, err)
	}
	if list := unnamed(t, v.page); len(list) > 0 {
		t.Errorf("a screen reader has no name for %q", list)
	}
	if list := dim(t, v.page); len(list) > 0 {
		t.Errorf("hard to read, dark: %q", list)
	}

	focused := func() string {
		what, err := Evaluate[string](v.page, `document.activeElement.id || document.activeElement.textContent`)
		if err != nil {
			t.Fatal(err)
		}
		return what
	}
	press := func(keys string) {
		if err := v.page.Press(keys); err != nil {
			t.Fatal(err)
		}
	}
	if press(kb.Tab); focused() != "To the regions" {
		t.Errorf("the first stop is %q", focused())
	}
	for stops := 0; focused() != "settings-show"; stops++ {
		if press(kb.Tab); stops > 40 {
			t.Fatalf("the button is not reached by Tab; the last stop is %q", focused())
		}
	}
	press(kb.Enter)
	shown := func(expression string) bool {
		ok, err := Evaluate[bool](v.page, expression)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	v.until("it asks for the right", func(*Seen) bool { return shown(`document.getElementById("login").open`) })
	typed := func(token string) {
		if err := v.page.Focus("#token"); err != nil {
			t.Fatal(err)
		}
		press(token + kb.Enter)
	}
	typed("this-is-not-the-token-of-anybody")
	v.until("a wrong token is refused", func(*Seen) bool {
		return shown(`document.getElementById("login").open && document.getElementById("login-why").textContent != "" &&
			document.getElementById("login-open").hidden === false`)
	})
	typed(Token)
	v.until("the right one is taken", func(s *Seen) bool {
		return s.State == "well" && shown(`!document.getElementById("login").open &&
			document.getElementById("who").textContent === "You are logged in."`)
	})
	if err := v.page.Focus("#settings-show"); err != nil {
		t.Fatal(err)
	}
	press(kb.Enter)
	v.until("the settings, with where each is from", func(*Seen) bool {
		return shown(`[...document.querySelectorAll("#settings tr")].some((r) =>
			r.textContent.startsWith("listen-http") && r.textContent.endsWith("config.yaml")) &&
			[...document.querySelectorAll("#settings tr")].some((r) =>
			r.textContent.startsWith("operator.token-file") && r.textContent.endsWith("--operator-token-file"))`)
	})
	v.click("#slow-show")
	v.until("slow requests, or that there are none", func(*Seen) bool {
		return shown(`document.getElementById("answer").textContent === (document.querySelectorAll("#slow tr").length ?
			"" : "There are none.") &&
			document.getElementById("slow-box").hidden === !document.querySelector("#slow tr")`)
	})
	if shown(`document.body.textContent.includes("` + Token + `") || document.cookie !== ""`) {
		t.Error("the token is shown, or a cookie is set")
	}
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}

	light := opened(t, b, f, f.Region("eu").Nodes[0], desktop)
	light.until("the fleet is well", func(s *Seen) bool { return s.State == "well" })
	if list := dim(t, light.page); len(list) > 0 {
		t.Errorf("hard to read, light: %q", list)
	}
}

// Operators move the primary on the page: what it would cost is told first, nothing is done before the name of the
// region is typed, and nothing at all by who has not the right.
func TestTheConsoleTakesOrders(t *testing.T) {
	b, f := started(t)
	us, eu := f.Region("us").Nodes[0], f.Region("eu").Nodes[0]
	v := opened(t, b, f, us, desktop)
	v.isWell()
	v.order("failover", "eu")
	v.until("who has no right is told so", func(*Seen) bool {
		return v.says("order-lines", "needs the operator's right")
	})
	v.typed("#order-name", "eu")
	if v.is(`!document.getElementById("order-do").disabled`) {
		t.Error("who has no right can confirm")
	}
	v.click("#order-close")
	v.click("#login-open")
	v.typed("#token", Token+kb.Enter)
	v.until("the token is taken", func(*Seen) bool { return v.says("who", "You are logged in.") })

	v.order("switchover", "eu")
	v.until("what it does", func(*Seen) bool { return v.says("order-lines", "Nothing is lost.") })
	for _, text := range []string{"e", "us"} {
		if v.typed("#order-name", text); v.is(`!document.getElementById("order-do").disabled`) {
			t.Errorf("%q confirms a switchover to eu", text)
		}
	}
	v.typed("#order-name", "eu"+kb.Enter)
	v.until("how it ended", func(*Seen) bool {
		return v.says("order-state", "Done.") && v.says("order-lines", "eu is primary, after us: epoch 2 begins") &&
			v.says("order-lines", "Nothing was lost; writes paused for")
	})
	v.click("#order-close")
	v.until("eu is primary", func(s *Seen) bool {
		return s.State == "well" && s.Primary == "eu" && s.Epoch == "2" && slices.Equal(s.Writes(), []string{"eu"})
	})

	v.order("failover", "eu")
	v.until("a failover to the primary cannot be ordered", func(*Seen) bool {
		return v.says("order-lines", "cannot be ordered here") && v.says("order-lines", "is primary already")
	})
	if v.typed("#order-name", "eu"); v.is(`!document.getElementById("order-do").disabled`) {
		t.Error("a failover to the primary can be confirmed")
	}
	v.click("#order-close")

	eu.Kill()
	v.until("eu does not answer", func(s *Seen) bool { return s.Regions["eu"].Role == "unknown" })
	v.order("failover", "us")
	v.until("what it costs", func(*Seen) bool {
		return v.says("order-lines", "may lose writes and was not forced") && v.says("order-lines", "Nobody votes")
	})
	if s, err := v.page.See(); err != nil || s.Primary != "eu" {
		t.Errorf("the preview moved the primary: %v %s", err, describe(s))
	}
	v.typed("#order-name", "us"+kb.Enter)
	v.until("how it ended", func(*Seen) bool {
		return v.says("order-state", "Done.") && v.says("order-lines", "us is primary, after eu: epoch 3 begins")
	})
	v.click("#order-close")
	v.until("us is primary", func(s *Seen) bool { return s.Primary == "us" && s.Epoch == "3" })
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// is evaluates something that is true or false.
func (v *visit) is(expression string) bool {
	v.t.Helper()
	ok, err := Evaluate[bool](v.page, expression)
	if err != nil {
		v.t.Fatal(err)
	}
	return ok
}

// says reports whether an element has a text in it.
func (v *visit) says(id, text string) bool {
	v.t.Helper()
	return v.is(fmt.Sprintf("document.getElementById(%q).textContent.includes(%q)", id, text))
}

// typed types keys into an empty field.
func (v *visit) typed(selector, keys string) {
	v.t.Helper()
	if v.is(fmt.Sprintf(`document.querySelector(%q).select(), true`, selector)) {
		if err := v.page.Focus(selector); err != nil {
			v.t.Fatal(err)
		}
		if err := v.page.Press(keys); err != nil {
			v.t.Fatal(err)
		}
	}
}

func (v *visit) click(selector string) {
	v.t.Helper()
	v.is(fmt.Sprintf(`document.querySelector(%q).click(), true`, selector))
}

// order chooses a region, and opens an order.
func (v *visit) order(name, to string) {
	v.t.Helper()
	v.is(fmt.Sprintf(`document.getElementById("move-to").value = %q, true`, to))
	v.click(fmt.Sprintf("[data-order=%s]", name))
}

// unnamed returns what is worked or read and has no name: controls, pictures, tables that scroll.
func unnamed(t *testing.T, p *Page) []string {
	t.Helper()
	list, err := Evaluate[[]string](p, `[...document.querySelectorAll(
		"button, input, dialog, [role=img], [role=region], article, section")]
		.filter((e) => ![e.getAttribute("aria-label"),
			...(e.getAttribute("aria-labelledby") || "").split(" ").map((id) =>
			id && document.getElementById(id)?.textContent), e.labels?.[0]?.textContent,
			e.tagName === "BUTTON" && e.textContent].some(Boolean)).map((e) => e.outerHTML.slice(0, 80))`)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// dim returns texts whose contrast to their ground is less than 4.5, the least of WCAG 2.2 (1.4.3).
func dim(t *testing.T, p *Page) []string {
	t.Helper()
	list, err := Evaluate[[]string](p, `(() => {
  const parts = (c) => c.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) =>
    v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parts(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !e.checkVisibility()) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) found.push(e.textContent.trim().slice(0, 40) + " " + contrast.toFixed(1));
  }
  return found;
})()`)
	if err != nil {
		t.Fatal(err)
	}
	return list
}
