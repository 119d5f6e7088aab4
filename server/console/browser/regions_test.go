package browser

import (
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// isWell waits until the fleet is well, and eu could be lost.
func (v *visit) isWell() {
	v.t.Helper()
	v.until("the fleet is well", func(s *Seen) bool {
		return s.State == "well" && s.Regions["eu"].RegionLoss == "none"
	})
}

// A region is taken out on the page: what that does is told first, and the primary is not taken out.
func TestTheConsoleTakesARegionOut(t *testing.T) {
	b, f := started(t)
	v := opened(t, b, f, f.Region("us").Nodes[0], desktop)
	v.isWell()
	v.click("#login-open")
	v.typed("#token", Token+kb.Enter)
	v.until("an operator looks", func(*Seen) bool { return v.says("who", "You are logged in.") })
	v.order("remove", "us")
	v.until("the primary stays", func(*Seen) bool { return v.says("order-lines", "cannot be ordered here") })
	v.click("#order-close")
	v.order("remove", "eu")
	v.until("what it does", func(*Seen) bool { return v.says("order-lines", "do not start again on their data") })
	if s, err := v.page.See(); err != nil || len(s.Regions) != 2 {
		t.Errorf("the preview took a region out: %v %s", err, describe(s))
	}
	v.typed("#order-name", "eu"+kb.Enter)
	v.until("how it ended", func(*Seen) bool {
		return v.says("order-state", "Done.") && v.says("order-lines", "The fleet has the regions us: roster")
	})
	v.click("#order-close")
	v.until("us is alone", func(s *Seen) bool { return len(s.Regions) == 1 && s.Primary == "us" })
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}
