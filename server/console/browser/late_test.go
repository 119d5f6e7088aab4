package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// What a dialog is about is what it does: what an order says of itself when its dialog is closed, before it was
// confirmed or after, changes nothing in the next one. And nothing is confirmed by typing nothing.
func TestALateAnswerIsOfNoOtherOrder(t *testing.T) {
	b, f := started(t)
	v := opened(t, b, f, f.Region("us").Nodes[0], desktop)
	v.isWell()
	// The node answers an order when the test says so, with what the test says; what was asked is kept.
	v.is(`(() => {
  window.asked = [];
  const ask = window.fetch;
  window.fetch = (path, options) => String(path).startsWith("/mimir/v1/") ? new Promise((go) => asked.push({
    order: path + " " + options.body,
    answer: (status, told) => go({ ok: status === 200, status, json: async () => told }),
  })) : ask(path, options);
  return true;
})()`)
	const needsForce = `answer(409, { error: "failover may lose writes and was not forced: a late answer" })`
	closed := func() {
		t.Helper()
		if err := v.page.Press(kb.Escape); err != nil {
			t.Fatal(err)
		}
		v.until("the dialog is closed", func(*Seen) bool { return v.is(`!document.getElementById("order").open`) })
	}
	// answered has the node answer; when it returns the page has done with that whatever it does.
	answered := func(i int, how string) {
		t.Helper()
		v.is(fmt.Sprintf(`asked[%d].%s, true`, i, how))
	}
	v.order("failover", "us")
	v.until("what it costs is asked", func(*Seen) bool { return v.is(`asked.length === 1`) })
	closed()
	v.order("switchover", "eu")
	v.until("what it does", func(*Seen) bool { return v.says("order-lines", "Nothing is lost.") })
	answered(0, needsForce)
	if v.says("order-lines", "late") || !v.says("order-title", "Switch over to eu") {
		t.Error("the answer to another order stands in the dialog")
	}
	v.typed("#order-name", "eu"+kb.Enter)
	v.until("the order is sent", func(*Seen) bool { return v.is(`asked.length === 2`) })
	if !v.is(`asked[1].order === '/mimir/v1/switchover {"to":"eu"}'`) {
		sent, err := Evaluate[string](v.page, `asked[1].order`)
		t.Errorf("a switchover to eu was confirmed, and what is sent is %s, %v", sent, err)
	}
	if !v.is(`document.getElementById("order-form").contains(document.activeElement) &&
		!document.activeElement.disabled`) {
		t.Error("the keys of who confirmed an order go nowhere")
	}
	closed()
	v.order("failover", "eu")
	v.until("what it costs is asked", func(*Seen) bool { return v.is(`asked.length === 3`) })
	v.typed("#order-name", "eu")
	answered(1, `answer(200, { to: "eu", from: "us", epoch: 2, position: 7 })`)
	if v.says("order-lines", "eu is primary") || v.says("order-state", "Done") ||
		v.is(`!document.getElementById("order-do").disabled`) {
		t.Error("how another order ended stands in the dialog, or can be confirmed")
	}
	if !v.says("answer", "Switch over to eu: Done. eu is primary, after us") {
		t.Error("how an order ended whose dialog is closed is told nowhere")
	}
	answered(2, needsForce)
	v.until("it can be confirmed", func(*Seen) bool { return v.is(`!document.getElementById("order-do").disabled`) })
	closed()

	v.is(`document.getElementById("move-to").replaceChildren(), // no region is known, until the next picture
		document.querySelector("[data-order=failover]").click(), true`)
	v.until("it cannot be ordered", func(*Seen) bool { return v.says("order-lines", "cannot be ordered here") })
	v.typed("#order-name", kb.Enter)
	if v.is(`!document.getElementById("order-do").disabled || asked.length !== 3`) {
		t.Error("nothing was typed, and confirms")
	}
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}
