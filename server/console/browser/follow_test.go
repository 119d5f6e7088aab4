package browser

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// told has what /mimir/v1/replay answers be said by the test: asked[i].tell says a state, asked[i].over that there is
// no more, asked[i].fail breaks the connection; refuses is what is answered instead. There is one tail, t.
const told = `(() => {
  window.asked = [];
  window.refuses = null;
  const ask = window.fetch, json = (v) => Promise.resolve(new Response(JSON.stringify(v)));
  window.fetch = (path, options = {}) => {
    if (!String(path).startsWith("/mimir/v1/replay")) return ask(path, options);
    if (path === "/mimir/v1/replay/tails") return json({ silent: ["eu-2"],
      tails: [{ name: "t", commands: 4, after: 1, fork: 1, last: 5, nodes: ["us-1"] }] });
    if (path === "/mimir/v1/replay/tails/t") return json([]);
    if (path === "/mimir/v1/replay" && options.method !== "POST") return json({ running: false, sums: {} });
    if (path === "/mimir/v1/replay/stop") { asked.stop = true; return json({}); }
    if (refuses) return Promise.resolve(new Response(JSON.stringify({ error: refuses.error }), { status: refuses.status }));
    const one = { order: path + " " + (options.body || "") };
    const body = new ReadableStream({ start(to) {
      one.tell = (state) => to.enqueue(new TextEncoder().encode(JSON.stringify({
        tail: "t", running: true, region: "eu", epoch: 2, commands: 4,
        looked: 0, decided: 0, seconds: 1, stillSeconds: 0, by: "token people", doing: "asks who is primary",
        sums: { applied: 0, conflicts: 0, there: 0, nothing: 0, notReplayed: 0, leased: 0 }, ...state }) + "\n"));
      one.over = () => to.close();
      one.fail = () => to.error(new TypeError("gone"));
    } });
    asked.push(one);
    return Promise.resolve(new Response(body));
  };
  return true;
})()`

// A replay is followed from its first second: what the node does, how far it is, that it stands still, that it can be
// stopped; over a connection that breaks; and where it stopped and why is told at the end.
func TestTheConsoleFollowsAReplay(t *testing.T) {
	b, f := started(t)
	v := opened(t, b, f, f.Region("us").Nodes[0], phone)
	v.until("the fleet is well", func(s *Seen) bool { return s.State == "well" })
	v.is(told)
	say := func(i int, how string) {
		t.Helper()
		v.is(fmt.Sprintf(`asked[%d].%s, true`, i, how))
	}
	v.click("#tails-show")
	v.shows("tails-silent", "Not asked, because they do not answer: eu-2. They may have more.")
	v.click("#tails button")
	v.click("#replay-look")
	v.shows("replay-state", "Asked")
	if !v.is(`document.activeElement.id === "replay-state" && !document.getElementById("replay-bar").hidden`) {
		t.Error("the keys of who looks go nowhere, or nothing says that it is under way")
	}
	say(0, `tell({ dryRun: true })`)
	v.shows("replay-state", "Looking what would be done: the node asks who is primary.")
	say(0, `tell({ dryRun: true, running: false, done: true,
		sums: { applied: 2, conflicts: 1, there: 1, nothing: 0, notReplayed: 0, leased: 1 },
		writes: { conflicts: [{ place: "4", op: "put", lease: "58", reason: "lease 58 is not there today" }] } })`)
	say(0, `over()`)
	v.shows("replay-state", "2 writes would be applied to eu.")
	const conflict = "4|put, lease 58|–|–|–|–|lease 58 is not there today"
	if got := v.table("replay-conflicts"); len(got) != 1 || got[0] != conflict {
		t.Errorf("what conflicts: %q", got)
	}
	v.typed("#replay-name", "eu"+kb.Enter)
	v.until("it is ordered", func(*Seen) bool { return v.is(`asked.length === 2`) })
	if !v.is(`asked[1].order === '/mimir/v1/replay {"tail":"t","region":"eu","epoch":2}'`) {
		t.Error("something else is ordered than was confirmed")
	}
	say(1, `tell({ looked: 4, decided: 2, seconds: 9, stillSeconds: 7,
		doing: "decides each write, and does what still applies",
		sums: { applied: 2, conflicts: 0, there: 0, nothing: 0, notReplayed: 0, leased: 0 } })`)
	v.shows("replay-state", "Replaying into eu: the node decides each write, and does what still applies.")
	v.shows("replay-count", "Under way for 9 s; 2 of 4 writes decided, 2 applied, 0 conflicts; "+
		"nothing has moved for 7 s")
	if !v.is(`document.getElementById("replay-bar").value === 0.75 && document.getElementById("replay-form").hidden`) {
		t.Error("how far it is, or that it can be ordered again")
	}
	say(1, `fail()`)
	v.shows("replay-state", "The connection broke: this node does not answer. Whether it goes on is not known; "+
		"asked again …")
	v.until("it is asked anew", func(*Seen) bool { return v.is(`asked.length === 3`) })
	if !v.is(`asked[2].order === "/mimir/v1/replay?follow=true "`) {
		t.Error("it is ordered again")
	}
	say(2, `tell({ looked: 4, decided: 2, seconds: 10 })`)
	v.shows("replay-state", "Replaying into eu")
	v.click("#replay-stop")
	v.until("it is to stop", func(*Seen) bool { return v.is(`asked.stop === true`) })
	say(2, `tell({ running: false, last: "3", error: "it was stopped by token people" })`)
	v.shows("replay-state", "Not done to its end: it was stopped by token people. It stopped behind position 3. "+
		"What was applied stays; look again, and it goes on where it was.")
	if v.is(`!document.getElementById("replay-stop").hidden || document.getElementById("replay-look").disabled`) {
		t.Error("it is over, and cannot be begun again")
	}
	v.click("#replay-look")
	v.until("it is asked", func(*Seen) bool { return v.is(`asked.length === 4`) })
	say(3, `tell({ tail: "t2" })`)
	v.shows("replay-state", "This node replays another tail, t2")
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// A node that ends while it replays knows nothing of that when it is there again, and may take nobody for who he was
// before. Then how it went is not known, and the page says that, and not that nothing was done.
func TestTheConsoleKnowsWhatIsNotKnownOfAReplay(t *testing.T) {
	b, f := started(t)
	v := opened(t, b, f, f.Region("us").Nodes[0], desktop)
	v.until("the fleet is well", func(s *Seen) bool { return s.State == "well" })
	v.is(told)
	v.click("#tails-show")
	v.shows("tails-silent", "Not asked")
	v.click("#tails button")
	const unknown = "Whether it came to its end, and how far it came, is not known: %s. What was applied stays; look again, and it " +
		"goes on where it was."
	begun := func(n int) {
		t.Helper()
		v.click("#replay-look")
		v.until("it is asked", func(*Seen) bool { return v.is(fmt.Sprintf(`asked.length === %d`, n)) })
		v.is(fmt.Sprintf(`asked[%d].tell({}), true`, n-1))
		v.shows("replay-state", "Replaying into eu")
	}
	asksAgain := func(n int, over string) {
		t.Helper()
		v.is(fmt.Sprintf(`asked[%d].%s, true`, n-1, over))
		v.until("it is asked anew", func(*Seen) bool { return v.is(fmt.Sprintf(`asked.length === %d`, n+1)) })
	}
	ended := func(why string) {
		t.Helper()
		v.shows("replay-state", fmt.Sprintf(unknown, why))
		if v.is(`document.getElementById("replay-look").disabled || !document.getElementById("replay-bar").hidden ||
			document.getElementById("replay-state").dataset.is !== "bad" || document.getElementById("replay-count").textContent !== ""`) {
			t.Error("it seems to go on, or to be well")
		}
	}
	begun(1)
	asksAgain(1, "fail()")
	v.is(`asked[1].tell({ tail: undefined, running: false, seconds: 0, doing: "no replay was ordered here" }), true`)
	ended("this node was started anew since, and knows of none")

	begun(3)
	asksAgain(3, "over()")
	v.is(`asked[3].tell({ tail: "t2", running: false, done: true }), true`)
	ended("of the replay that was asked for here this node tells nothing any more, the last one was of t2")

	begun(5)
	v.is(`refuses = { status: 503, error: "the node begins" }, asked[4].fail(), true`)
	v.shows("replay-state", "The connection broke: the node begins. Whether it goes on is not known; asked again")
	v.is(`refuses = { status: 403, error: "GET /mimir/v1/replay needs the operator's right" }, true`)
	ended("GET /mimir/v1/replay needs the operator's right")

	v.is(`refuses = { status: 503, error: "the audit log cannot be written" }, true`)
	v.click("#replay-look")
	v.shows("replay-state", "Refused, and nothing was done: the audit log cannot be written.")
}
