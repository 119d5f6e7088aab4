package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/server/console/browser"
)

// replay takes the pictures of what a failover cut off: us comes back alone and takes writes, for which votes are no
// more than a delay; eu takes over by force, and the tail of us is looked at and replayed on the page of eu.
func (v *views) replay(ctx context.Context, f *browser.Fleet) error {
	us, eu := f.Region("us"), f.Region("eu")
	if err := v.until(ctx, "moved", func(s *browser.Seen) bool {
		return s.Primary == "eu" && len(s.Writes()) == 1
	}); err != nil {
		return err
	}
	if err := put(ctx, eu.Nodes[0], "Ym90aA==", "YmVmb3Jl"); err != nil { // both, before
		return err
	}
	if err := localfleet.Start(us.Nodes); err != nil {
		return err
	}
	if err := v.until(ctx, "back", func(s *browser.Seen) bool {
		return s.State == "well" && s.Regions["us"].Position == s.Regions["eu"].Position
	}); err != nil {
		return err
	}
	if err := v.cutOff(ctx, f); err != nil {
		return err
	}
	if err := v.steps(ctx, "tail", openTail...); err != nil {
		return err
	}
	if err := v.steps(ctx, "replay-look", look...); err != nil {
		return err
	}
	if err := v.steps(ctx, "replay-done", `document.getElementById("replay-name").value = document.getElementById(`+
		`"replay-which").textContent, document.getElementById("replay-name").dispatchEvent(new Event("input")),
		document.getElementById("replay-form").requestSubmit(), false`,
		`!document.getElementById("replay-state").textContent.startsWith("Asked") &&
			document.getElementById("replay-bar").hidden`,
	); err != nil {
		return err
	}
	return v.steps(ctx, "lists", `document.getElementById("slow-show").click(), false`,
		`document.getElementById("answer").textContent !== "Asked …"`,
		`document.getElementById("settings-show").click(), false`,
		`document.querySelectorAll("#settings tr").length > 5`)
}

var openTail = []string{
	`document.getElementById("tails-show").click(), false`, `document.querySelector("#tails button") !== null`,
	`document.querySelector("#tails button").click(), false`,
	`document.getElementById("tail-state").textContent.includes("writes")`,
}

var look = []string{
	`document.getElementById("replay-look").click(), false`, `!document.getElementById("replay-told").hidden`,
}

// cutOff has eu be primary and lose writes to us, which takes over while eu stands still.
func (v *views) cutOff(ctx context.Context, f *browser.Fleet) error {
	us, eu := f.Region("us"), f.Region("eu")
	localfleet.Kill(us.Nodes)
	for i, key := range []string{"bG9zdC9vbmU=", "bG9zdC90d28=", "Ym90aA==", "bG9zdC90aHJlZQ=="} {
		if err := put(ctx, eu.Nodes[i%len(eu.Nodes)], key, "YSB2YWx1ZSBvZiBhIGxvc3Qgd3JpdGU="); err != nil {
			return err
		}
	}
	localfleet.Kill(eu.Nodes)
	if err := localfleet.Start(us.Nodes); err != nil {
		return err
	}
	var text string
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(time.Second) {
		text, err = f.Run(ctx, "mimir failover --to us --force --endpoints "+us.Nodes[0].Config.ListenClient)
		if err == nil || strings.Contains(text, "already primary") {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("us does not take over: %w: %s", err, text)
	}
	if err := put(ctx, us.Nodes[0], "Ym90aA==", "dG9kYXk="); err != nil { // both, today
		return err
	}
	if err := localfleet.Start(eu.Nodes); err != nil {
		return err
	}
	return v.until(ctx, "cut-off", func(s *browser.Seen) bool {
		return s.State == "well" && s.Primary == "us" && s.Regions["eu"].Position == s.Regions["us"].Position
	})
}

// put writes a key, of which key and value are in base64, as soon as the node takes it.
func put(ctx context.Context, n *localfleet.Node, key, value string) error {
	last := ""
	deadline := time.Now().Add(patience)
	for ; time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		answer, err := http.Post("http://"+n.Config.ListenClient+"/v3/kv/put", "application/json",
			strings.NewReader(`{"key":"`+key+`","value":"`+value+`"}`))
		if err != nil {
			last = err.Error()
			continue
		}
		answer.Body.Close()
		if last = answer.Status; answer.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("%s takes no write: %s", n.Config.Name, last)
}
