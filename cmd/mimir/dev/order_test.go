//go:build unix

package dev

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is broken by order is gone until it is healed, and is not told as an accident; what is not named stays.
func TestBreakAndHeal(t *testing.T) {
	t.Setenv("FAKE_NODE", "good")
	dir := t.TempDir()
	f, out, _ := fakeFleet(t, Options{Dir: dir, Regions: []string{"us", "eu-west", "eu"}, Nodes: 1})
	tell := func(o Order, want string) {
		t.Helper()
		if text, err := Tell(t.Context(), dir, o); err != nil || !strings.Contains(text, want) {
			t.Errorf("%+v: %q, %v; want %q", o, text, err, want)
		}
	}
	us, west := f.Regions[0].Nodes[0], f.Regions[1].Nodes[0]
	tell(Order{Kind: KindNode, Name: "us-1"}, "killed us-1 (pid")
	tell(Order{Kind: KindRegion, Name: "us"}, "nothing runs")
	if alive(us.PID) || !alive(west.PID) {
		t.Error("the wrong one was killed")
	}
	tell(Order{Heal: true, Kind: KindRegion, Name: "us"}, "healed us-1 (pid")
	tell(Order{Heal: true, Kind: KindNode, Name: "us-1"}, "nothing is broken")
	saved, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if now := saved.Regions[0].Nodes[0].PID; now == us.PID || !alive(now) {
		t.Errorf("fleet.json says that us-1 is process %d, and before %d", now, us.PID)
	}
	tell(Order{Kind: KindLink, Name: "eu-west-us"}, "cut eu-west-us")
	tell(Order{Kind: KindLink, Name: "us-eu-west"}, "so already")
	tell(Order{Kind: KindNode, Name: "eu-1"}, "killed eu-1")
	tell(Order{Heal: true}, "healed us-eu-west, eu-1 (pid")
	tell(Order{Heal: true}, "nothing is broken")
	if text := out.String(); strings.Contains(text, "ended") {
		t.Errorf("what was ordered is told as an accident: %s", text)
	}
	for _, o := range []Order{
		{Kind: KindNode, Name: "mars-1"}, {Kind: KindRegion, Name: "mars"}, {Kind: KindLink, Name: "us-us"},
		{Kind: "planet", Name: "us"}, {Kind: KindAll},
	} {
		if text, err := Tell(t.Context(), dir, o); !errors.Is(err, ErrOrder) {
			t.Errorf("%+v: %q, %v", o, text, err)
		}
	}
}

// What can be broken is known by the fleet of the last run, for who completes a command line.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	if names := Names(dir, KindRegion); names != nil {
		t.Errorf("where nothing ran: %q", names)
	}
	f := &Fleet{Witness: &Node{Name: "w1"}, Regions: []Region{
		{Name: "us", Nodes: []Node{{Name: "us-1"}}}, {Name: "eu", Nodes: []Node{{Name: "eu-1"}}}, {Name: "ap"},
	}}
	if err := f.save(dir); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[Kind]string{
		KindRegion: "[us eu ap]", KindLink: "[us-eu us-ap eu-ap]", KindNode: "[us-1 eu-1 w1]", "planet": "[]",
	} {
		if got := fmt.Sprint(Names(dir, kind)); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
}

// Only who may read the file of the user that runs the fleet gives orders, and without a fleet there is nobody to tell.
func TestOrdersOfStrangers(t *testing.T) {
	t.Setenv("FAKE_NODE", "good")
	dir := t.TempDir()
	if _, err := Tell(t.Context(), dir, Order{Heal: true}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before it runs: %v", err)
	}
	f, _, end := fakeFleet(t, Options{Dir: dir, Regions: []string{"us"}, Nodes: 1})
	path := filepath.Join(dir, controlFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), `"address":"`)
	address, _, _ := strings.Cut(after, `"`)
	order := strings.NewReader(`{"kind":"region","name":"us"}`)
	answer, err := http.Post("http://"+address+"/", "application/json", order)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden || !alive(f.Regions[0].Nodes[0].PID) {
		t.Errorf("a stranger is answered with %s", answer.Status)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if _, err := Tell(t.Context(), dir, Order{Heal: true}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after it ended: %v", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil { // of a run that was killed
		t.Fatal(err)
	}
	if _, err := Tell(t.Context(), dir, Order{Heal: true}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("with what a killed run left: %v", err)
	}
}
