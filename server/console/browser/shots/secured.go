package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/server/console/browser"
)

// secured takes the pictures of a fleet whose certificates end, with users: of these, of a watch of keys that change,
// and of who logs in.
func secured(ctx context.Context, b *browser.Browser, binary, dir, to string) error {
	flags, err := browser.Certificates(filepath.Join(dir, "certs"))
	if err != nil {
		return err
	}
	f, err := browser.NewFleet(ctx, binary, dir, 1, false, flags...)
	if err != nil {
		return err
	}
	defer f.Close()
	us := f.Region("us").Nodes[0]
	v := &views{to: to}
	if err := v.apart(ctx, b, us, "certificates", shown,
		`document.querySelector("#certificates tr[data-state=expired]") !== null`,
		`document.querySelector("#certificates tr[data-state=expiring]") !== null`); err != nil {
		return err
	}
	writing, done := context.WithCancel(ctx)
	defer done()
	go change(writing, us)
	if err := v.apart(ctx, b, us, "watch", shown,
		`document.getElementById("keys-prefix").value = "app/", document.getElementById("keys-watch").click(), false`,
		`document.querySelectorAll("#watched tr").length > 9`); err != nil {
		return err
	}
	done()
	return v.logins(ctx, b, us)
}

// shown is so once there is a picture.
const shown = `document.querySelector("#regions article") !== null`

// apart does steps on a page of each screen, one page after the other, and makes a picture of each: so that each has
// all connections that a browser opens to a node.
func (v *views) apart(
	ctx context.Context, b *browser.Browser, n *localfleet.Node, state string, steps ...string,
) error {
	for name, screen := range screens {
		p, err := b.Open(browser.ClientConsole(n), screen)
		if err != nil {
			return err
		}
		one := &views{pages: map[string]*browser.Page{name: p}, to: v.to}
		err = one.steps(ctx, state, steps...)
		one.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// change has keys come, be changed and go, until ctx ends.
func change(ctx context.Context, n *localfleet.Node) {
	values := []string{"replicas: 3\nregion: us\n", "on", "\x00\x01\x02\xff",
		"a longer value, as of a setting that is a sentence"}
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("app/settings/%d", i%5)
		body := fmt.Sprintf(`{"key":%q,"value":%q}`, encoded(key), encoded(values[i%len(values)]))
		path := "kv/put"
		if i%7 == 6 {
			path, body = "kv/deleterange", fmt.Sprintf(`{"key":%q}`, encoded(key))
		}
		_ = call(ctx, n, path, body) // it is not ready yet, or gone
		time.Sleep(150 * time.Millisecond)
	}
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// logins takes the pictures of who logs in as an operator, or as a user who reads keys, is refused, and is taken.
func (v *views) logins(ctx context.Context, b *browser.Browser, n *localfleet.Node) error {
	for _, one := range [][2]string{
		{"auth/user/add", `{"name":"root","password":"rootsecret"}`},
		{"auth/user/grant", `{"user":"root","role":"root"}`},
		{"auth/enable", `{}`},
	} {
		if err := call(ctx, n, one[0], one[1]); err != nil {
			return err
		}
	}
	wrong := []string{shown,
		`document.getElementById("login-open").click(), false`,
		`document.getElementById("user").value = "root", document.getElementById("password").value = "guess",
			document.getElementById("login-form").requestSubmit(), false`,
		`document.getElementById("login-why").textContent !== ""`}
	if err := v.apart(ctx, b, n, "login", wrong...); err != nil {
		return err
	}
	right := append(wrong, `document.getElementById("password").value = "rootsecret",
			document.getElementById("login-form").requestSubmit(), false`,
		`!document.getElementById("login").open`, shown)
	if err := v.apart(ctx, b, n, "logged-in", right...); err != nil {
		return err
	}
	return v.apart(ctx, b, n, "reader", shown,
		`document.getElementById("keys-form").requestSubmit(), false`,
		`document.getElementById("keys-state").textContent.includes("read as a user")`,
		`document.getElementById("reader-open").click(), false`,
		`document.getElementById("reader-user").value = "root",
			document.getElementById("reader-password").value = "guess",
			document.getElementById("reader-form").requestSubmit(), false`,
		`document.getElementById("reader-why").textContent !== ""`)
}

// call calls etcd's API by way of a node, as an operator.
func call(ctx context.Context, n *localfleet.Node, path, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.Config.ListenClient+"/v3/"+path,
		bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+browser.Token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, answer.Status)
	}
	return nil
}
