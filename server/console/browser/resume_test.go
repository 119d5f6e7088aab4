package browser

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// The primary is lost in the middle of a replay, of which the page of another region tells: it says where it stopped,
// and what was applied; when the primary is back it is looked again, and the replay goes on where it was, to its end.
func TestTheConsoleGoesOnWithAReplay(t *testing.T) {
	b, f := started(t)
	us, eu := f.Region("us").Nodes[0], f.Region("eu").Nodes[0]
	v := keysAt(t, b, f, us, desktop)
	v.isWell()
	putKey(t, us, "both", "before")
	v.until("eu has it", func(s *Seen) bool { return s.Regions["eu"].Position == "1" })
	eu.Kill()
	const writes = 1200
	for i := range writes {
		putKey(t, us, fmt.Sprintf("lost/%d", i), "x")
	}
	us.Kill()
	if err := eu.Start(); err != nil {
		t.Fatal(err)
	}
	v.until("eu is back, and takes over", func(*Seen) bool {
		text, err := f.Run(t.Context(), "mimir failover --to eu --force --endpoints "+eu.Config.ListenClient)
		return err == nil && strings.Contains(text, "eu is primary")
	})
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	well := func(s *Seen) bool {
		return s.State == "well" && s.Regions["us"].Doing == "follows eu" && s.Primary == "eu"
	}
	v.until("us follows", well)
	v.click("#login-open")
	v.typed("#token", Token+kb.Enter)
	v.until("the token is taken", func(*Seen) bool { return v.says("who", "You are logged in.") })
	v.click("#tails-show")
	v.until("there is one", func(*Seen) bool { return v.is(`document.querySelectorAll("#tails tr").length === 1`) })
	v.click("#tails button")
	v.click("#replay-look")
	v.shows("replay-state", fmt.Sprintf("%d writes would be applied to eu.", writes))
	if !v.says("replay-applied-caption", fmt.Sprintf("the first 100 of %d", writes)) ||
		len(v.table("replay-applied")) != 100 {
		t.Error("it is not said that more would be applied than is listed")
	}
	v.typed("#replay-name", "eu"+kb.Enter)
	v.until("it is under way", func(*Seen) bool { return v.says("replay-count", "writes decided") })
	eu.Kill()
	v.shows("replay-state", "Not done to its end: ")
	v.until("eu is unknown", func(s *Seen) bool {
		return s.Regions["eu"].Role == "unknown" && s.Regions["eu"].Lag == "unknown"
	})
	text, err := Evaluate[string](v.page, `document.getElementById("replay-state").textContent`)
	stopped := regexp.MustCompile(`It stopped behind position \d+\. What was applied stays; look again`)
	if err != nil || !stopped.MatchString(text) {
		t.Errorf("%v %s", err, text)
	}
	t.Log(text)
	applied := v.number("replay-applied-sum")
	v.click("#replay-look")
	v.shows("replay-state", "Refused, and nothing was done: no region is known to take writes")

	if err := eu.Start(); err != nil {
		t.Fatal(err)
	}
	v.until("the fleet is well again", well)
	v.click("#replay-look")
	v.shows("replay-state", "would be applied to eu.")
	left, there := v.number("replay-applied-sum"), v.number("replay-there-sum")
	// Of the one under way when eu was lost it was not known whether it was done.
	if left+there != writes || there < applied || there > applied+1 {
		t.Errorf("%d were applied; then %d were there, and %d left", applied, there, left)
	}
	v.typed("#replay-name", "eu"+kb.Enter)
	v.shows("replay-state", fmt.Sprintf("Done: %d writes applied to eu, primary of epoch 2. Nothing of it is left.",
		left))
	if got := valueAt(t, eu, fmt.Sprintf("lost/%d", writes-1)); got != "x" {
		t.Errorf("the last write: %q", got)
	}
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// number is what an element has.
func (v *visit) number(id string) int {
	v.t.Helper()
	text, err := Evaluate[string](v.page, `document.getElementById("`+id+`").textContent`)
	if err != nil {
		v.t.Fatal(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		v.t.Fatal(err)
	}
	return n
}
