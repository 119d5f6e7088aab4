package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/mimir-kv/mimir/localfleet"
)

// fields are those of a message of the API, bytes in base64.
type fields map[string]any

// api calls etcd's API by way of a node, with a token if there is one.
func api(t *testing.T, n *localfleet.Node, path, token string, body fields) (answer map[string]any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.Config.ListenClient+"/v3/"+path,
		bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err = io.ReadAll(got.Body)
	if err == nil && got.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", got.Status)
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", path, err, text)
	}
	return answer
}

func putKey(t *testing.T, n *localfleet.Node, key, value string) {
	t.Helper()
	api(t, n, "kv/put", "", fields{"key": []byte(key), "value": []byte(value)})
}

// keysAt opens the console where a node serves clients, which is where keys are read.
func keysAt(t *testing.T, b *Browser, f *Fleet, n *localfleet.Node, s Screen) *visit {
	t.Helper()
	p, err := b.Open(ClientConsole(n), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &visit{t: t, fleet: f, page: p}
}

// shows waits until an element has a text in it.
func (v *visit) shows(id, text string) {
	v.t.Helper()
	v.until(fmt.Sprintf("#%s shows %q", id, text), func(*Seen) bool { return v.says(id, text) })
}

// lists lists the keys that begin with a prefix, written as the page does.
func (v *visit) lists(prefix, told string) {
	v.t.Helper()
	v.is(fmt.Sprintf(`document.getElementById("keys-prefix").value = %q,
		document.getElementById("keys-state").textContent = "",
		document.getElementById("keys-form").requestSubmit(), true`, prefix))
	v.shows("keys-state", told)
}

// opens opens the key that is listed first.
func (v *visit) opens(name string) {
	v.t.Helper()
	v.click("#keys button")
	v.shows("key-state", "As of revision")
	if !v.says("key-name", name) {
		v.t.Errorf("%q is not the key that is looked at", name)
	}
}

// rows returns the texts of a table.
func (v *visit) rows(id string) (list []string) {
	v.t.Helper()
	list, err := Evaluate[[]string](v.page, fmt.Sprintf(`[...document.querySelectorAll("#%s tr")].map((r) =>
		[...r.children].map((c) => c.textContent).join("|"))`, id))
	if err != nil {
		v.t.Fatal(err)
	}
	return list
}

// Keys are listed in pages, whatever bytes they are; a key has its history, and what becomes of it is seen as it
// happens.
func TestKeysAreReadInTheConsole(t *testing.T) {
	b, f := started(t)
	us := f.Region("us").Nodes[0]
	const binary, markup = "\x00\xff", `<img src=x onerror=document.title='run'>`
	putKey(t, us, binary, "\x01\x02k8s\x00")
	for i := range 60 {
		putKey(t, us, fmt.Sprintf("many/%02d", i), markup)
	}
	for i := range 14 {
		putKey(t, us, "app/a", fmt.Sprint("value ", i))
	}
	v := keysAt(t, b, f, us, phone)
	v.lists("", "50 of 62 keys from here on")
	if first := v.rows("keys")[0]; !strings.HasPrefix(first, `\x00\xff|`) {
		t.Errorf("the first key is shown as %q", first)
	}
	if wide, err := Evaluate[int](v.page, `document.documentElement.scrollWidth - innerWidth`); err != nil || wide > 0 {
		t.Errorf("the page is %d pixels wider than a phone: %v", wide, err)
	}
	if list := dim(t, v.page); len(list) > 0 {
		t.Errorf("hard to read: %q", list)
	}
	v.click("#keys-next")
	v.shows("keys-state", "12 of 12 keys from here on")
	further := v.is(`!document.getElementById("keys-next").disabled`)
	if last := v.rows("keys")[11]; !strings.HasPrefix(last, "many/59|") || further {
		t.Errorf("the last page ends with %q", last)
	}
	v.click("#keys-before")
	v.shows("keys-state", "50 of 62")
	v.lists(`\x00`, "1 of 1 keys")
	v.opens(`\x00\xff`)
	if !v.says("key-value", "01 02 6b 38 73 00") || !v.says("key-about", "6 bytes, not text") {
		t.Error("a value that is no text is not shown by its bytes")
	}
	v.lists("many/", "50 of 60")
	v.opens("many/00")
	if !v.says("key-value", markup) || v.is(`document.title === "run" || document.querySelector("#key img") !== null`) {
		t.Error("a value is not shown as it is")
	}
	v.lists(`a\b`, `a backslash is written \\`)
	v.lists("app/", "1 of 1 keys")
	v.opens("app/a")
	v.click("#key-older")
	v.shows("key-state", "11 versions are shown; there are older ones")
	v.click("#key-older")
	v.shows("key-state", "All versions since it was created")
	if rows := v.rows("key-versions"); len(rows) != 14 || !strings.HasSuffix(rows[0], "|14|8|value 13") ||
		!strings.HasSuffix(rows[13], "|1|7|value 0") {
		t.Errorf("the versions are %q", rows)
	}
	v.watches(us)
	v.isCompacted(us)
	v.readsWhatIsHere(b, us)
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// watches looks at what becomes of app/.
func (v *visit) watches(n *localfleet.Node) {
	v.t.Helper()
	v.click("#keys-watch")
	v.shows("watch-state", "Watching what begins with app/")
	v.until("the watch has begun", func(*Seen) bool { // nothing is told before: what was written before is not seen
		putKey(v.t, n, "app/b", "fresh")
		return v.says("watched", "app/b")
	})
	putKey(v.t, n, "other", "not watched")
	putKey(v.t, n, "app/a", "\xff")
	api(v.t, n, "kv/deleterange", "", fields{"key": []byte("app/a")})
	v.shows("watched", "deleted")
	rows := v.rows("watched")
	if !strings.Contains(rows[0], "|deleted|app/a|–|–") || !strings.Contains(rows[1], `|changed|app/a|1|\xff`) ||
		v.says("watched", "other") {
		v.t.Errorf("what happened is shown as %q", rows)
	}
	v.click("#key-again")
	v.shows("key-state", "There is no such key")
	v.click("#watch-stop")
	v.shows("watch-state", "Stopped.")
	v.is(`document.getElementById("watch-from").value = "2", true`)
	v.click("#key-watch")
	v.shows("watch-state", "16 events") // 14 puts, one of what is no text, and the deletion
	if rows := v.rows("watched"); !strings.Contains(rows[15], "|created|app/a|7|value 0") {
		v.t.Errorf("the history is shown as %q", rows)
	}
	v.is(`document.getElementById("watch-from").value = "", true`)
}

// isCompacted looks at a key whose history is not there any more.
func (v *visit) isCompacted(n *localfleet.Node) {
	v.t.Helper()
	putKey(v.t, n, "short", "one")
	putKey(v.t, n, "short", "two")
	at := api(v.t, n, "kv/range", "", fields{"key": []byte("short")})["header"].(map[string]any)["revision"]
	api(v.t, n, "kv/compaction", "", fields{"revision": at, "physical": true})
	v.lists("short", "1 of 1 keys")
	v.opens("short")
	v.click("#key-older")
	v.shows("key-state", "was compacted")
	v.is(`document.getElementById("watch-from").value = "2", true`)
	v.click("#key-watch")
	v.shows("watch-state", fmt.Sprintf("What was before revision %s cannot be told", at))
	v.is(`document.getElementById("watch-from").value = "", true`)
}

// readsWhatIsHere reads at a region whose primary is gone.
func (v *visit) readsWhatIsHere(b *Browser, primary *localfleet.Node) {
	v.t.Helper()
	eu := keysAt(v.t, b, v.fleet, v.fleet.Region("eu").Nodes[0], desktop)
	eu.lists("app/", "1 of 1 keys")
	primary.Kill()
	eu.is(`document.getElementById("keys-here").checked = true`)
	eu.lists("app/b", "1 of 1 keys")
	eu.opens("app/b")
	if !eu.says("key-value", "fresh") {
		v.t.Error("what the node has is not read")
	}
}

// Who reads keys sees what users and roles let him see, and nothing of it is left when he leaves.
func TestKeysAreReadByTheRightOfWhoLooks(t *testing.T) {
	b, f := started(t)
	us := f.Region("us").Nodes[0]
	putKey(t, us, "app/a", "for alice")
	putKey(t, us, "other/a", "for nobody")
	for _, call := range []struct {
		path string
		body fields
	}{
		{"auth/user/add", fields{"name": "root", "password": "rootsecret"}},
		{"auth/user/grant", fields{"user": "root", "role": "root"}},
		{"auth/role/add", fields{"name": "app"}},
		{"auth/role/grant", fields{"name": "app", "perm": fields{
			"permType": "READ", "key": []byte("app/"), "range_end": []byte("app0")}}},
		{"auth/user/add", fields{"name": "alice", "password": "alicesecret"}},
		{"auth/user/grant", fields{"user": "alice", "role": "app"}},
		{"auth/enable", fields{}},
	} {
		api(t, us, call.path, Token, call.body)
	}
	v := keysAt(t, b, f, us, desktop)
	v.until("the fleet is shown", func(s *Seen) bool { return s.State == "well" })
	v.lists("", "read as a user who may")
	v.click("#reader-open")
	v.typed("#reader-user", "alice")
	v.typed("#reader-password", "wrong"+kb.Enter)
	v.shows("reader-why", "authentication failed")
	v.typed("#reader-password", "alicesecret"+kb.Enter)
	v.shows("keys-who", "as the user who logged in here")
	v.lists("", "permission denied")
	v.lists("other/", "permission denied")
	v.lists("app/", "1 of 1 keys")
	v.opens("app/a")
	if !v.says("key-value", "for alice") {
		t.Error("what alice may read is not shown")
	}
	v.is(`document.getElementById("keys-prefix").value = "other/", true`)
	v.click("#keys-watch")
	v.shows("watch-state", "permission denied")
	v.click("#reader-out")
	v.shows("keys-who", "or as nobody")
	if v.is(`document.body.textContent.includes("for alice") || document.body.textContent.includes("app/a") ||
		Object.keys(sessionStorage).length > 0 || document.cookie !== ""`) {
		t.Error("something of what was read, or the right to it, is left")
	}
	private, err := b.Open(Console(us), desktop)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(private.Close)
	v = &visit{t: t, fleet: f, page: private}
	v.lists("app/", "not read at this port")
	if list := v.page.Problems(); len(list) > 0 {
		t.Errorf("in the page: %q", list)
	}
}

// What is answered late is of no other question.
func TestALateAnswerIsOfNoOtherList(t *testing.T) {
	b, f := started(t)
	us := f.Region("us").Nodes[0]
	putKey(t, us, "second", "")
	v := keysAt(t, b, f, us, desktop)
	v.is(`(() => {
  window.asked = [];
  const ask = window.fetch;
  window.fetch = (path, options) => path === "/v3/kv/range" && asked.length === 0
    ? new Promise((go) => asked.push((told) => go({ ok: true, status: 200, json: async () => told })))
    : ask(path, options);
  return true;
})()`)
	v.is(`document.getElementById("keys-form").requestSubmit(), true`)
	v.until("it is asked", func(*Seen) bool { return v.is(`asked.length === 1`) })
	v.lists("second", "1 of 1 keys")
	v.is(`asked[0]({ header: { revision: "7" }, count: "1",
		kvs: [{ key: btoa("late"), mod_revision: "7", version: "1" }] }), true`)
	v.opens("second")
	if v.says("keys", "late") || !v.says("keys-state", "1 of 1 keys from here on, as of revision 2") {
		t.Errorf("an answer to another question is shown: %q", v.rows("keys"))
	}
}
