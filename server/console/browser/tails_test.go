package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// What a failover cut off is shown write by write to operators alone, and the commands below it do what they say.
func TestTheConsoleShowsATail(t *testing.T) {
	b, f := started(t)
	us, eu := f.Region("us").Nodes[0], f.Region("eu").Nodes[0]
	v := keysAt(t, b, f, us, phone)
	v.isWell()
	putKey(t, us, "both", "before")
	v.until("eu has it", func(s *Seen) bool { return s.Regions["eu"].Position == "1" })
	eu.Kill()
	putKey(t, us, "lost", "one <b>")
	putKey(t, us, "lost\u202e", "two")
	us.Kill()
	if err := eu.Start(); err != nil {
		t.Fatal(err)
	}
	at := " --endpoints " + eu.Config.ListenClient
	v.until("eu is back, and takes over", func(*Seen) bool {
		text, err := f.Run(t.Context(), "mimir failover --to eu --force"+at)
		return err == nil && strings.Contains(text, "eu is primary")
	})
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	v.until("us follows", func(s *Seen) bool {
		return s.State == "well" && s.Regions["us"].Doing == "follows eu" && s.Primary == "eu"
	})

	v.click("#tails-show")
	v.until("it asks for the right", func(*Seen) bool { return v.is(`document.getElementById("login").open`) })
	v.typed("#token", Token+kb.Enter)
	v.until("the token is taken", func(*Seen) bool { return v.says("who", "You are logged in.") })
	v.click("#tails-show")
	v.until("there is one", func(*Seen) bool { return v.is(`document.querySelectorAll("#tails tr").length === 1`) })
	v.click("#tails button")
	v.shows("tail-state", "All of its writes.")
	rows, err := Evaluate[[]string](v.page, `[...document.querySelectorAll("#tail-writes tr")].map((tr) =>
		[...tr.children].map((c) => c.textContent).join("|"))`)
	if err != nil || strings.Join(rows, "\n") != "2|put|lost|one <b>|–|\n3|put|lost\\xe2\\x80\\xae|two|–|" {
		t.Errorf("%v %q", err, rows)
	}
	if !v.says("tail-about", "2 writes behind position 1, up to 3") {
		t.Error("it is not said where the tail is from")
	}
	if list := append(unnamed(t, v.page), dim(t, v.page)...); len(list) > 0 {
		t.Errorf("without a name, or hard to read: %q", list)
	}
	if v.is(`document.documentElement.scrollWidth > innerWidth`) {
		t.Error("the page is wider than a phone")
	}
	steps, err := Evaluate[[]string](v.page,
		`[...document.querySelectorAll("#tail-steps pre")].map((p) => p.textContent)`)
	if err != nil || len(steps) != 4 {
		t.Fatalf("%v %q", err, steps)
	}
	v.commands(steps[0], "2 would be applied")
	v.commands(steps[1], "2 applied")
	v.commands(strings.Replace(steps[3], " --endpoints", " --yes --endpoints", 1), "discarded")
	v.click("#logout")
	if !v.is(`document.getElementById("tail").hidden && !document.querySelector("#tail-writes tr")`) {
		t.Error("who logged out leaves the tail on the page")
	}
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// commands runs a command, which has to say something.
func (v *visit) commands(command, says string) {
	v.t.Helper()
	if text, err := v.fleet.Run(v.t.Context(), command); err != nil || !strings.Contains(text, says) {
		v.t.Fatal(fmt.Sprint(command, ": ", err, " ", text))
	}
}
