package succession

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestScripts plays the scripts in testdata. "fleet us eu ap" makes a fleet in which us is primary and everybody
// follows, "bare" one without a command, "new" one in which nobody was started, and "existing" likewise one where
// nobody forms a fleet by itself; "play" does what its lines say and tells what came of each:
//
//	us writes N         clients write
//	us commits          what us has proposed is applied, and its leader is told
//	us commits 1        likewise, the oldest entry alone
//	us dies [losing]    its leader ends; what it had proposed was committed, or is lost
//	us steps down [losing]  likewise, but its node lives on, and is told
//	us leads            a leader comes up: the node that stepped down, or a new one
//	us hears [eu]       of the other regions, or of one
//	us forgets          what it heard, as a node that has just started
//	us works            the stream takes what there is; a fetch, a stage and what was stopped end
//	us streams [blindly]  what there is goes to its log, behind what it has proposed; as earlier versions did
//	us finishes         what was stopped comes to its end all the same
//	us trims its log    what it has applied is in its log no more
//	us switches to eu   an operator asks for a switchover
//	us takes over [fenced]   and for a forced failover, of a primary that is fenced
//	us takes over unsealed   one that spares an open handoff of its own
//	us delays           its region shows its history late, from where it is
//	us shows N          and more of it
//	us takes over at N  a forced failover to the past
//	us founds           an operator orders the first epoch of a new fleet
//	us takes back       an operator orders the switchover under way to be taken back
//	us moving           what us tells of a switchover under way
//	us gives up         the operator waits no longer
//	us loses its disks  all of them
//	us refuses everything, us takes everything   its log makes nothing of anything, or is itself again
//	us keeps checkpoints   its nodes may be able to go back by themselves, and have what it takes; or they have
//	                    not ("none"), do not answer ("away"), or do not come to an end ("hang")
//	us spoils its copy  its disk changes what was fetched, which shows when other nodes are to have it
//	us trouble          what us tells of what keeps it from work
//	deliver N, lose N, repeat N   message N arrives, is lost, or arrives and is still on its way
//	wait 10s
//	settle              until nothing changes any more
//	show                how all regions are
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var w *world
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if slices.Contains([]string{"fleet", "new", "bare", "existing"}, d.Cmd) {
				var names []string
				for _, a := range d.CmdArgs {
					names = append(names, a.Key)
				}
				w = newWorld(t, names...)
				w.exists = d.Cmd == "existing"
				switch d.Cmd {
				case "fleet":
					w.found()
				case "bare":
					w.form()
				}
				w.told()
				w.show()
				return w.told()
			}
			for line := range strings.Lines(d.Input) {
				w.say("> %s", strings.TrimSpace(line))
				w.play(strings.Fields(line))
			}
			if len(w.broken) > 0 {
				t.Fatalf("%s: %s\n%s", d.Pos, strings.Join(w.broken, "\n"), w.told())
			}
			return w.told()
		})
	})
}

// found brings the fleet to where its first region is primary and the others follow.
func (w *world) found() {
	w.form()
	w.writes(w.regions[0], 3)
	w.settle()
}

// form has the first region begin the first epoch, without a command.
func (w *world) form() {
	for _, p := range w.regions {
		w.leads(p)
	}
	w.settle()
}

func (w *world) play(words []string) {
	switch words[0] {
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			w.t.Fatal(err)
		}
		w.wait(d)
	case "settle":
		if !w.settle() {
			w.say("it does not come to rest")
		}
	case "show":
		w.show()
	case "deliver", "lose", "repeat":
		m := w.message(words[1])
		switch words[0] {
		case "lose":
			w.lose(m)
		default:
			w.deliver(m, words[0] == "repeat")
		}
	default:
		w.playAt(w.at(words[0]), words[1], words[2:])
	}
}

func (w *world) message(number string) *message {
	for _, m := range w.net {
		if strconv.Itoa(m.number) == number {
			return m
		}
	}
	w.t.Fatalf("no message %s is on its way\n%s", number, w.told())
	return nil
}

func (w *world) playAt(p *place, verb string, rest []string) {
	switch verb {
	case "writes":
		n, err := strconv.Atoi(rest[0])
		if err != nil {
			w.t.Fatal(err)
		}
		w.writes(p, n)
	case "commits":
		for n := len(p.log); n > 0; n-- {
			w.commit(p)
			if len(rest) > 0 {
				break
			}
		}
	case "dies":
		w.dies(p, len(rest) > 0)
	case "steps":
		w.stepsDown(p, len(rest) > 1)
	case "leads":
		w.leads(p)
	case "hears":
		for _, o := range w.regions {
			if o != p && (len(rest) == 0 || rest[0] == o.name) {
				w.hears(p, o)
			}
		}
	case "forgets":
		clear(p.heard)
	case "works":
		w.works(p)
	case "streams":
		w.streams(p, len(rest) > 0)
	case "finishes":
		p.stopping = false
		w.works(p)
	case "trims":
		p.trimmed = p.state().Cursor.Position
	case "switches":
		w.step(p, Switchover{w.operator(p), rest[1]})
	case "refuses":
		p.stubborn = true
	case "takes":
		switch rest[0] {
		case "everything":
			p.stubborn = false
			return
		case "back":
			w.step(p, Abort{w.operator(p)})
			return
		}
		if len(rest) > 2 {
			n, err := strconv.Atoi(rest[2])
			if err != nil {
				w.t.Fatal(err)
			}
			at := placeOf(upTo(p.history, timeline.Position(n)))
			w.step(p, Takeover{Call: w.operator(p), Operator: true, At: &at})
			return
		}
		w.step(p, Takeover{
			Call: w.operator(p), Fenced: slices.Contains(rest, "fenced"), Unsealed: slices.Contains(rest, "unsealed"),
		})
	case "delays", "shows":
		c := &timeline.Control{Op: timeline.OpDelay}
		if len(rest) > 0 {
			n, err := strconv.Atoi(rest[0])
			if err != nil {
				w.t.Fatal(err)
			}
			c.Shown = timeline.Position(n)
		}
		if o, why, err := p.machine.Control(c); o != timeline.Applied || err != nil {
			w.t.Fatalf("%s: %s, %v", p.name, why, err)
		}
	case "spoils":
		p.spoiled = true
	case "keeps":
		p.rewinds, p.marks = true, rest[0]
	case "gives":
		w.step(p, GaveUp{p.operator, context.Canceled})
	case "founds":
		w.step(p, Found{w.operator(p)})
	case "moving":
		_, text := Moving(p.leader, w.now)
		w.say("%s: %s", p.name, text)
	case "loses":
		w.forget(p)
	case "trouble":
		if t := p.leader.Trouble(); t != nil {
			w.say("%s: %s: %s", p.name, t.What, t.Detail)
		}
	default:
		w.t.Fatalf("no verb %q", verb)
	}
}

func (w *world) show() {
	for _, p := range w.regions {
		text := describeState(p.state())
		if !p.leads() {
			text += "; nobody leads"
		}
		w.say("%s", text)
	}
}
