package main

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// TestASwitchoverShowsHowFarItIs: at once, when writes begin to pause, and now and then; with what is left and for how
// long, as far as that is known.
func TestASwitchoverShowsHowFarItIs(t *testing.T) {
	var out strings.Builder
	w, began := moveWatch{out: &out}, time.Unix(0, 0)
	at := func(after time.Duration, moving string, sealed bool, lag replication.Lag) {
		w.show(began.Add(after), &replication.FleetStatus{Regions: []replication.RegionStatus{
			{Name: "eu", Role: replication.RoleSecondary, Lag: lag},
			{Name: "us", Role: replication.RolePrimary, Moving: moving, MovingTo: "eu", Sealed: sealed},
		}})
	}
	approach := "switches over to eu: region eu lacks commands; writes go on"
	at(0, "", false, replication.Lag{})
	at(400*time.Millisecond, approach, false, replication.Lag{Commands: 3000, Bytes: 3 << 20})
	at(900*time.Millisecond, approach, false, replication.Lag{Commands: 2900, Bytes: 3 << 20})
	at(5400*time.Millisecond, approach, false, replication.Lag{Commands: 2000, Bytes: 2 << 20})
	at(10400*time.Millisecond, approach, false, replication.Lag{})
	at(15400*time.Millisecond, approach, false, replication.Lag{Commands: 2000, Seconds: -1})
	at(15900*time.Millisecond, "switches over to eu: writes pause", true, replication.Lag{})
	at(16400*time.Millisecond, "", false, replication.Lag{})
	want := "us " + approach + "; 3.0 MiB left\n" +
		"us " + approach + "; 2.0 MiB left, for about 10s\n" +
		"us " + approach + "\n" +
		"us " + approach + "\n" +
		"us switches over to eu: writes pause\n"
	if out.String() != want {
		t.Errorf("shown:\n%swant:\n%s", out.String(), want)
	}
	out.Reset()
	w = moveWatch{out: &out, terminal: true}
	at(0, approach, false, replication.Lag{Seconds: -1})
	w.end()
	if text := out.String(); text != "\r\033[K\033[?7lus "+approach+"\033[?7h\r\033[K" {
		t.Errorf("on a terminal: %q", text)
	}
	out.Reset()
	if w.waits("us-1:2379", time.Second); out.Len() > 0 {
		t.Errorf("beside how far it is: %q", out.String())
	}
	unseen := moveWatch{out: &out}
	if unseen.waits("us-1:2379", time.Second); out.String() != "mimir: waiting for us-1:2379: no answer for 1s\n" {
		t.Errorf("before anything is shown: %q", out.String())
	}
}
