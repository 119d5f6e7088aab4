package browser

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/mimir-kv/mimir/localfleet"
)

// called calls the API of etcd at a node, and returns what it answers.
func called(t *testing.T, n *localfleet.Node, path, body string, headers ...string) map[string]any {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.Config.ListenClient+"/v3/"+path,
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	told := map[string]any{}
	if err != nil || json.Unmarshal(text, &told) != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s, %v", path, body, answer.Status, text, err)
	}
	return told
}

// valueAt returns a value as a node has it, "-" where there is none.
func valueAt(t *testing.T, n *localfleet.Node, key string) string {
	t.Helper()
	told := called(t, n, "kv/range", fmt.Sprintf(`{"key":%q}`, base64.StdEncoding.EncodeToString([]byte(key))))
	list, _ := told["kvs"].([]any)
	if len(list) == 0 {
		return "-"
	}
	text, _ := list[0].(map[string]any)["value"].(string)
	value, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(value)
}

// lost has us lose five writes to a failover to eu, and come back: a put that applies; one whose key is written anew in
// eu; a lease, and a put on it; a put on a lease that had ended since.
func lost(t *testing.T, v *visit) {
	t.Helper()
	us, eu := v.fleet.Region("us").Nodes[0], v.fleet.Region("eu").Nodes[0]
	v.isWell()
	called(t, us, "lease/grant", `{"ID":"77","TTL":"600"}`)
	putKey(t, us, "both", "before")
	v.until("eu has it", func(s *Seen) bool { return s.Regions["eu"].Position == "2" })
	eu.Kill()
	putKey(t, us, "lost", "one <b>")
	putKey(t, us, "both", "lost too")
	called(t, us, "lease/grant", `{"ID":"88","TTL":"600"}`)
	called(t, us, "kv/put", `{"key":"b25sZWFzZQ==","value":"aGFuZ3M=","lease":"88"}`) // onlease, hangs
	called(t, us, "kv/put", `{"key":"Z29uZQ==","value":"aGFuZ3M=","lease":"77"}`)     // gone, hangs
	us.Kill()
	if err := eu.Start(); err != nil {
		t.Fatal(err)
	}
	v.until("eu is back, and takes over", func(*Seen) bool {
		text, err := v.fleet.Run(t.Context(), "mimir failover --to eu --force --endpoints "+eu.Config.ListenClient)
		return err == nil && strings.Contains(text, "eu is primary")
	})
	putKey(t, eu, "both", "today")
	called(t, eu, "lease/revoke", `{"ID":"77"}`)
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	v.until("us follows", func(s *Seen) bool {
		return s.State == "well" && s.Regions["us"].Doing == "follows eu" && s.Primary == "eu"
	})
}

// loggedIn logs in, and opens the only tail.
func (v *visit) loggedIn() {
	v.t.Helper()
	v.click("#login-open")
	v.typed("#token", Token+kb.Enter)
	v.until("the token is taken", func(*Seen) bool { return v.says("who", "You are logged in.") })
	v.opensTail()
}

func (v *visit) opensTail() {
	v.t.Helper()
	v.click("#tails-show")
	v.until("there is one", func(*Seen) bool { return v.is(`document.querySelectorAll("#tails tr").length === 1`) })
	v.click("#tails button")
	v.shows("tail-state", "All of its writes.")
}

// table is a table as it is shown, a line a row.
func (v *visit) table(id string) []string {
	v.t.Helper()
	rows, err := Evaluate[[]string](v.page, `document.getElementById("`+id+`").closest("[hidden]") ? [] :
		[...document.querySelectorAll("#`+id+` tr")].map((tr) => [...tr.children].map((c) => c.textContent).join("|"))`)
	if err != nil {
		v.t.Fatal(err)
	}
	return rows
}

func (v *visit) sums() string {
	v.t.Helper()
	text, err := Evaluate[string](v.page, `["applied", "conflicts", "there", "nothing", "notReplayed", "leased"]
		.map((n) => n + " " + document.getElementById("replay-" + n + "-sum").textContent).join(", ")`)
	if err != nil {
		v.t.Fatal(err)
	}
	return text
}

// A failover cuts writes off. In the console of the new primary, which has no copy of the tail, it is looked what would
// be done, and then done, by keyboard on a phone: what it showed is what happened, and what the command line says.
func TestTheConsoleReplaysATail(t *testing.T) {
	b, f := started(t)
	eu := f.Region("eu").Nodes[0]
	watching := opened(t, b, f, f.Region("us").Nodes[0], desktop)
	lost(t, watching)
	v := keysAt(t, b, f, eu, phone)
	v.until("the fleet is well", func(s *Seen) bool { return s.State == "well" })
	v.loggedIn()
	v.click("#replay-look")
	v.shows("replay-state", "3 writes would be applied to eu. Nothing was changed yet.")
	if got := v.sums(); got != "applied 3, conflicts 2, there 0, nothing 0, notReplayed 0, leased 3" {
		t.Errorf("what would be done: %s", got)
	}
	conflicts := []string{"4|put|both|before|lost too|today|it was changed since the fork",
		"7|put, lease 4d|gone|not there|not known|not there|what it did cannot be known: lease 4d is not there " +
			"today, and it is not known whether it was at the fork: it may have been written"}
	applied := []string{"3|put|lost|–|–", "5|lease-grant|–|58|–", "6|put|onlease|58|–"}
	if got := v.table("replay-conflicts"); !slices.Equal(got, conflicts) {
		t.Errorf("conflicts: %q", got)
	}
	if got := v.table("replay-applied"); !slices.Equal(got, applied) {
		t.Errorf("would be applied: %q", got)
	}
	if list := append(unnamed(t, v.page), dim(t, v.page)...); len(list) > 0 {
		t.Errorf("without a name, or hard to read: %q", list)
	}
	if v.is(`document.documentElement.scrollWidth > innerWidth`) {
		t.Error("the page is wider than a phone")
	}
	if valueAt(t, eu, "lost") != "-" {
		t.Error("looking has done it")
	}
	v.typed("#replay-name", "us"+kb.Enter)
	if !v.is(`document.getElementById("replay-do").disabled`) || valueAt(t, eu, "lost") != "-" {
		t.Error("another region was named, and it can be done")
	}
	v.is(`document.getElementById("replay-name").value = "", true`)
	v.typed("#replay-name", "eu"+kb.Enter)
	v.shows("replay-state", "Done: 3 writes applied to eu, primary of epoch 2. 2 writes not done: decide by hand.")
	if got := v.sums(); got != "applied 3, conflicts 2, there 0, nothing 0, notReplayed 0, leased 3" {
		t.Errorf("what was done: %s", got)
	}
	for key, want := range map[string]string{"lost": "one <b>", "both": "today", "onlease": "hangs", "gone": "-"} {
		if got := valueAt(t, eu, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	steps, err := Evaluate[[]string](v.page,
		`[...document.querySelectorAll("#tail-steps pre")].map((p) => p.textContent)`)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := f.Run(t.Context(), steps[0]); err == nil || !strings.Contains(text, "0 would be applied, 3 there") {
		t.Errorf("the command line says %v: %s", err, text)
	}
	v.commands("mimir events --endpoints "+eu.Config.ListenClient, "ordered: tail replay us-")
	v.click("#replay-look")
	v.shows("replay-state", "Nothing of it would be applied.")
	if !v.is(`document.getElementById("replay-form").hidden`) {
		t.Error("nothing is left, and it can be replayed")
	}
	v.click("#logout")
	if !v.is(`document.getElementById("tail").hidden && !document.querySelector("#replay-conflicts tr")`) {
		t.Error("who logged out leaves the tail on the page")
	}
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// What is in the way of a replay is said in plain words, and nothing is done: a primary that moved since it was looked,
// users of whom the one who is logged in is none, a right that was taken, a tail that is gone.
func TestTheConsoleRefusesAReplay(t *testing.T) {
	b, f := started(t)
	us := f.Region("us").Nodes[0]
	v := keysAt(t, b, f, us, desktop)
	lost(t, v)
	v.loggedIn()
	v.click("#replay-look")
	v.shows("replay-state", "3 writes would be applied to eu.")
	at := " --endpoints " + us.Config.ListenClient
	v.commands("mimir switchover --to us"+at, "us is primary")
	v.typed("#replay-name", "eu"+kb.Enter)
	v.shows("replay-state", "Refused, and nothing was done: eu of epoch 2 was confirmed, and the primary is us of "+
		"epoch 3: look again what would be done there.")
	if valueAt(t, us, "lost") != "-" {
		t.Error("it was done to another primary")
	}
	v.click("#replay-look")
	v.shows("replay-state", "3 writes would be applied to us.")

	called(t, us, "auth/user/add", `{"name":"root","password":"geheim"}`, "Authorization", Token)
	called(t, us, "auth/user/grant", `{"user":"root","role":"root"}`, "Authorization", Token)
	called(t, us, "auth/enable", `{}`, "Authorization", Token)
	v.click("#replay-look")
	v.shows("replay-state", "What would be done is not known: a tail is compared and replayed by the right of who is "+
		"logged in, and users are enabled: to be an operator is not enough")

	v.click("#logout")
	v.click("#tails-show")
	v.until("it asks for the right", func(*Seen) bool { return v.is(`document.getElementById("login").open`) })
	v.typed("#user", "root")
	v.typed("#password", "geheim"+kb.Enter)
	v.until("root is taken", func(*Seen) bool { return v.says("who", "You are logged in.") })
	v.opensTail()
	v.click("#replay-look")
	v.shows("replay-state", "3 writes would be applied to us.")
	v.typed("#replay-name", "us")
	called(t, us, "auth/user/changepw", `{"name":"root","password":"other"}`, "Authorization", Token) // ends its tokens
	if err := v.page.Press(kb.Enter); err != nil {
		t.Fatal(err)
	}
	v.shows("replay-state", "Refused, and nothing was done: ")
	if !v.says("replay-state", "needs the operator's right") {
		t.Error("it is not said that the right is not there any more")
	}

	v.click("#logout")
	v.click("#login-open")
	v.typed("#token", Token+kb.Enter)
	v.until("the token is taken", func(*Seen) bool { return v.says("who", "You are logged in.") })
	v.opensTail()
	name, err := Evaluate[string](v.page, `document.getElementById("tail-name").textContent`)
	if err != nil {
		t.Fatal(err)
	}
	v.commands("mimir tail discard "+name+" --yes"+at, "discarded")
	v.click("#replay-look")
	v.shows("replay-state", `What would be done is not known: no tail "`+name+`" on any node`)
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}
