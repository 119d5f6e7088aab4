//go:build unix

package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

var runbooks = flag.Bool("runbooks", false, "TestRunbooks does what the pages say; default: it is skipped")

// book are the sections of the pages whose commands TestRunbooks runs, all of them, as they stand there.
var book = map[string][]string{
	"failover.md": nil, // every section
	"operating.md": {
		"Switch over", "Fail over", "What a failover cut off",
	},
}

// shownElsewhere are commands of these sections that other tests run.
var shownElsewhere = map[string]string{
	"mimir witness --name w1 --listen 10.3.0.1:2380 --listen-http": "TestTwoNodesAndAWitnessGoOnWithoutEither",
	"mimir failover --to eu --force --at-":                         "TestEverythingIsDeletedAndADelayedRegionTakesOver",
	"mimir fleet change --add ap":                                  "here, --add eu: there is no third region",
	"go test":                                                      "it is no command of an operator",
}

// written is a command as it stands in a page.
type written struct{ page, section, text string }

// commandsOf returns what a page has between "```sh" and "```", a command each.
func commandsOf(t *testing.T, page string) (list []written) {
	text, err := os.ReadFile(filepath.Join("..", "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	section, inside, begun := "", false, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case !inside && strings.HasPrefix(line, "#"):
			section = strings.TrimSpace(strings.TrimLeft(line, "#"))
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && strings.HasSuffix(line, `\`):
			begun += strings.TrimSuffix(line, `\`)
		case inside && line != "":
			list = append(list, written{page, section, begun + line})
			begun = ""
		}
	}
	return list
}

// reader does what pages say, with real processes: two regions of one node each, and witnesses.
type reader struct {
	*smallest
	dir, binary string
	fleet       *localfleet.Fleet
	witness     *localfleet.Node // the one that runs
	place       localfleet.Place // of whichever does
	left        []written        // that nobody ran yet
	tail        string           // the name of the tail that there is
}

// TestRunbooks does what docs/failover.md and docs/operating.md say about moves and losses, command by command as it
// stands there, with addresses, directories and names of tails put in. None is left out.
func TestRunbooks(t *testing.T) {
	if !*runbooks {
		t.Skip("with -runbooks: it takes about a minute")
	}
	r := &reader{dir: t.TempDir()}
	for page, sections := range book {
		for _, c := range commandsOf(t, page) {
			if sections == nil || slices.Contains(sections, c.section) {
				r.left = append(r.left, c)
			}
		}
	}
	r.binary = filepath.Join(r.dir, "bin", "mimir")
	if err := Build(t.Context(), r.binary); err != nil {
		t.Fatal(err)
	}
	var err error
	r.fleet, err = localfleet.New(localfleet.Options{
		Dir: r.dir, Command: []string{r.binary, "serve"}, Regions: []string{"us", "eu"}, Nodes: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.smallest = &smallest{t, r.fleet.Regions[0].Nodes[0], r.fleet.Regions[1].Nodes[0]}
	ports := localfleet.AnyPorts()
	if r.place, err = localfleet.PlaceOn(ports, filepath.Join(r.dir, "w")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.witness != nil {
			r.witness.Kill()
		}
		r.fleet.Close()
		ports.Close()
		if t.Failed() {
			for _, n := range r.fleet.Nodes() {
				t.Logf("%s: %s", n.Config.Name, n.LastWords())
			}
		}
	})
	if err := localfleet.Start(r.fleet.Nodes()); err != nil {
		t.Fatal(err)
	}
	for _, chapter := range []func(){
		r.byHand, r.begins, r.orders, r.takenBack, r.goesOn, r.isLost, r.replays, r.voters, r.noQuorum,
	} {
		chapter()
	}
	for _, c := range r.left {
		if r.elsewhere(c) == "" {
			t.Errorf("%s, %s: nobody runs %q", c.page, c.section, c.text)
		}
	}
}

func (r *reader) elsewhere(c written) string {
	for prefix, where := range shownElsewhere {
		if strings.HasPrefix(c.text, prefix) {
			return where
		}
	}
	return ""
}

// finds takes the command that begins so, in a section, from those that are left.
func (r *reader) finds(section, prefix string) string {
	r.t.Helper()
	i := slices.IndexFunc(r.left, func(c written) bool {
		return c.section == section && strings.HasPrefix(c.text, prefix)
	})
	if i < 0 {
		r.t.Fatalf("no page has %q under %q, or it was run already", prefix, section)
	}
	c := r.left[i]
	r.left = slices.Delete(r.left, i, i+1)
	r.t.Logf("%s, %s: %s", c.page, c.section, c.text)
	return c.text
}

var tailName = regexp.MustCompile(`us-e\d+-\d+-\d+-[0-9a-f]{16}`)

// here puts what there is in the place of what a page has for example.
func (r *reader) here(command string) string {
	command = strings.ReplaceAll(command, "10.3.0.1:2380", r.place.Peer)
	command = strings.ReplaceAll(command, "/var/lib/mimir", r.dir)
	return tailName.ReplaceAllString(command, r.tail)
}

// shell runs a command as somebody does who has named the nodes in MIMIR_ENDPOINTS, and says yes to what it asks.
func (r *reader) shell(ctx context.Context, command string) (status int, said string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Dir, c.Stdin = r.dir, strings.NewReader("yes\n")
	c.Env = append(localfleet.Environment(),
		"PATH="+filepath.Dir(r.binary)+string(os.PathListSeparator)+os.Getenv("PATH"),
		"MIMIR_ENDPOINTS="+strings.Join(localfleet.Clients(r.fleet.Nodes()), ","))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("%s: %v", command, err)
	}
	return c.ProcessState.ExitCode(), out.String()
}

// does runs the command of a page, which has to end with this status and to say all of that.
func (r *reader) does(section, prefix string, status int, says ...string) {
	r.t.Helper()
	r.checks(r.here(r.finds(section, prefix)), status, says...)
}

func (r *reader) checks(command string, status int, says ...string) {
	r.t.Helper()
	got, said := r.shell(r.t.Context(), command)
	for _, want := range says {
		if got == status && !strings.Contains(said, want) {
			got = -1
		}
	}
	if got != status {
		r.t.Fatalf("%s: want exit status %d and %q\n%s", command, status, says, said)
	}
}

// comes runs a command until it says what is to come.
func (r *reader) comes(command string, says string) (said string) {
	r.t.Helper()
	r.until(command+" says "+says, func(ctx context.Context) bool {
		_, said = r.shell(r.t.Context(), command)
		return strings.Contains(said, says)
	})
	return said
}

// follows waits until both regions have the same, and n takes no writes of its own.
func (r *reader) follows(n *localfleet.Node) {
	r.t.Helper()
	r.until(n.Config.Name+" follows", func(ctx context.Context) bool {
		us, err := ask(ctx, r.us)
		eu, other := ask(ctx, r.eu)
		if err != nil || other != nil || us.Chain != eu.Chain || !us.Healthy || !eu.Healthy {
			return false
		}
		return us.Primary == eu.Primary && us.Primary != n.Config.Region
	})
}

func (r *reader) start(n *localfleet.Node) {
	r.t.Helper()
	if err := n.Start(); err != nil {
		r.t.Fatal(err)
	}
}

// byHand is a fleet without votes: a planned move, and a region that is lost and comes back.
func (r *reader) byHand() {
	r.until("us takes a write", puts(r.client(r.us), "first"))
	r.follows(r.eu)
	r.does("Switch over", "mimir switchover --to eu", 0, "eu is primary, after us: epoch 2 begins after position",
		"nothing was lost; writes paused for")
	r.follows(r.us)
	r.checks("mimir switchover --to us", 0, "us is primary, after eu")
	r.follows(r.eu)
	r.targetDies()
	r.us.Kill()
	r.does("Fail over", "mimir failover --to eu", 1, "was not forced", "no leader of us answers")
	r.does("Fail over", "mimir failover --to eu --force", 0, "eu is primary, after us", "see mimir tail list")
	r.start(r.us)
	r.follows(r.us)
	r.checks("mimir switchover --to us", 0, "us is primary, after eu")
	r.follows(r.eu)
}

// targetDies is a switchover whose target dies for good when the primary is sealed: it is forced to itself.
func (r *reader) targetDies() {
	at := " --endpoints " + r.us.Config.ListenClient
	ended := r.sealed(at)
	r.comes("mimir status"+at, "us: sealed for a handoff to eu since")
	r.eu.Kill()
	r.comes("mimir status"+at, "eu does not answer")
	r.does("Switch over", "mimir failover --to us --force", 0, "us stays primary, and takes writes again: epoch",
		"eu may have begun epoch")
	if said := <-ended; !strings.HasPrefix(said, "exit status 1: ") {
		r.t.Errorf("the switchover that was forced away ended with %s", said)
	}
	r.until("us takes a write", puts(r.client(r.us), "after the seal"))
	r.start(r.eu)
	r.follows(r.eu)
}

// goesOn is the same where votes are taken: the primary goes on without force, and takes the switchover back.
func (r *reader) goesOn() {
	at := " --endpoints " + r.us.Config.ListenClient
	ended := r.sealed(at)
	r.eu.Kill()
	r.checks("mimir switchover --abort"+at, 0, "the switchover is taken back: the primary is what it was")
	if said := <-ended; !strings.HasPrefix(said, "exit status 1: ") || !strings.Contains(said, "voted for region us") {
		r.t.Errorf("the switchover that was taken back ended with %s", said)
	}
	r.until("us takes a write", puts(r.client(r.us), "by votes"))
	r.start(r.eu)
	r.follows(r.eu)
	r.holds(r.us)
}

// sealed has us switch over to eu, and eu stand still as soon as us is sealed for that. That is a matter of
// milliseconds: where eu was faster it is moved back, and tried again.
func (r *reader) sealed(at string) (ended chan string) {
	r.t.Helper()
	for range 50 {
		ended = make(chan string, 1)
		go func() {
			status, said := r.shell(r.t.Context(), "mimir switchover --to eu"+at)
			ended <- fmt.Sprintf("exit status %d: %s", status, said)
		}()
		r.until("us is sealed", func(ctx context.Context) bool {
			us, err := ask(ctx, r.us)
			return err == nil && (us.Sealed || us.Primary == "eu")
		})
		if err := suspend(r.eu.PID()); err != nil {
			r.t.Fatal(err)
		}
		if us, err := ask(r.t.Context(), r.us); err == nil && us.Sealed {
			select {
			case <-ended: // an answer was under way already
			case <-time.After(time.Second):
				return ended
			}
		}
		if err := resume(r.eu.PID()); err != nil {
			r.t.Fatal(err)
		}
		r.follows(r.us)
		r.checks("mimir switchover --to us", 0, "us is primary, after eu")
		r.follows(r.eu)
	}
	r.t.Fatal("eu was faster each time")
	return nil
}

// witnessed starts a witness as the page says, under another name.
func (r *reader) witnessed(command, name string) {
	r.t.Helper()
	words := strings.Fields(strings.ReplaceAll(r.here(command), "w1", name))
	dir := filepath.Join(r.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.witness = &localfleet.Node{
		Dir: dir, Config: localfleet.Config{Name: name}, Arguments: append([]string{r.binary}, words[1:]...),
	}
	r.start(r.witness)
}

// begins has the regions, and a witness, vote.
func (r *reader) begins() {
	r.witnessed(r.finds("What is needed", "mimir witness --name w1"), "w1")
	const says = "eu, us, witness/w1 vote; the primary moves by itself"
	r.comes(r.here(r.finds("Begin", "mimir fleet enable --witness w1=")), says)
	r.holds(r.us)
	r.comes("mimir fleet show", "witness/w1       priority 0    supports the primary")
	r.does("Look", "mimir fleet show", 0, "us has a lease for", "eu               priority 100  supports the primary")
}

// orders are those that a primary with a lease takes.
func (r *reader) orders() {
	r.does("Pause", "mimir fleet pause", 0, "automatic failover is paused: an upgrade")
	r.does("Pause", "mimir fleet resume", 0, "the primary moves by itself")
	r.does("Hold", "mimir fleet hold --for", 0, "it is held until")
	r.checks("mimir status", 0, "us is held until")
	r.does("Hold", "mimir fleet hold --end", 0, "the primary moves by itself")
	r.does("Too often", "mimir fleet change --flap-limit", 0, "the primary moves by itself")
	r.does("A preferred region", "mimir fleet change --priority", 0, "the primary moves by itself")
	r.does("A planned move", "mimir switchover --to eu", 0, "eu is primary, after us", "nothing was lost")
	r.holds(r.eu)
	r.follows(r.us)
	r.checks("mimir switchover --to us", 0, "us is primary, after eu")
	r.holds(r.us)
	r.follows(r.eu)
}

// takenBack is a switchover that does not come about, since its target stands still.
func (r *reader) takenBack() {
	if err := suspend(r.eu.PID()); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan int, 1)
	go func() {
		status, _ := r.shell(r.t.Context(), "mimir switchover --to eu --endpoints "+r.us.Config.ListenClient)
		ended <- status
	}()
	abort := r.finds("Switch over", "mimir switchover --abort") + " --endpoints " + r.us.Config.ListenClient
	woken := false
	r.until("the switchover is taken back", func(ctx context.Context) bool {
		_, said := r.shell(r.t.Context(), abort)
		if strings.Contains(said, "does not answer") && !woken { // it is sealed, and only eu can say
			woken = resume(r.eu.PID()) == nil
		}
		return strings.Contains(said, "the switchover is taken back")
	})
	if err := resume(r.eu.PID()); err != nil {
		r.t.Fatal(err)
	}
	if status := <-ended; status != 1 {
		r.t.Errorf("the switchover that was taken back ended with %d", status)
	}
	r.holds(r.us)
	r.follows(r.eu)
}

// isLost has us lose its node while eu has not got its last writes, and come back when eu has taken over by itself.
func (r *reader) isLost() {
	us, eu := r.client(r.us), r.client(r.eu)
	for _, key := range []string{"owner", "config"} {
		if _, err := us.Put(r.t.Context(), key, "at the fork"); err != nil {
			r.t.Fatal(err)
		}
	}
	r.follows(r.eu)
	r.fleet.Cut("us", "eu") // for a moment only, but these never cross
	for _, key := range []string{"owner", "config", "new"} {
		if _, err := us.Put(r.t.Context(), key, "lost"); err != nil {
			r.t.Fatal(err)
		}
	}
	r.us.Kill()
	r.fleet.Lose("us", "eu")
	r.fleet.Heal("us", "eu")
	took := r.until("eu takes over by itself", puts(eu, "taken over"))
	r.t.Logf("eu takes the next write after %v", took)
	if log, err := os.ReadFile(r.eu.LogPath()); err != nil || !strings.Contains(string(log), "took over by votes") {
		r.t.Errorf("the log of eu: %v", err)
	}
	if _, err := eu.Put(r.t.Context(), "owner", "of today"); err != nil {
		r.t.Fatal(err)
	}
	r.start(r.us)
	r.follows(r.us)
}

// replays is what was lost, and how it is replayed.
func (r *reader) replays() {
	const section = "What a failover cut off"
	r.tail = tailName.FindString(r.comes(r.finds(section, "mimir tail list"), "us-e"))
	r.does(section, "mimir tail show", 0, r.tail, `"key":"b3duZXI="`)
	r.does(section, "mimir tail export", 0)
	if export := r.finds(section, "jq -r"); exec.Command("jq", "--version").Run() == nil {
		r.checks(export, 0, "owner = lost\nconfig = lost\nnew = lost\n")
	} else {
		r.t.Log("this machine has no jq")
	}
	decided := []string{"3 commands: 2 ", "1 conflict", `lost   "lost"`, `today  "of today"`}
	r.does(section, "mimir tail diff", 4, append(decided, "2 would be applied")...)
	r.does(section, "mimir tail replay", 4, append(decided, "2 applied")...)
	r.checks("mimir tail replay "+r.tail, 4, "2 there already")
	eu := r.client(r.eu)
	for key, want := range map[string]string{"owner": "of today", "config": "lost", "new": "lost"} {
		if g, err := eu.Get(r.t.Context(), key); err != nil || g.Count != 1 || string(g.Kvs[0].Value) != want {
			r.t.Errorf("%s: %v, %v; want %q", key, g, err, want)
		}
	}
	r.does(section, "mimir tail discard", 0, "discarded "+r.tail+" on us-1")
}

// voters are replaced: a witness that lost its directory by one of another name, a region by itself.
func (r *reader) voters() {
	r.checks("mimir switchover --to us", 0, "us is primary, after eu")
	r.holds(r.us)
	r.follows(r.eu)
	r.witness.Kill()
	r.witnessed("mimir witness --name w1 --listen 10.3.0.1:2380 --data-dir /var/lib/mimir-w1", "w2")
	const says = "eu, us, witness/w2 vote; the primary moves" // once it listens
	r.comes(r.here(r.finds("A voter is lost", "mimir fleet change --remove witness/w1")), says)
	r.comes("mimir fleet show", "witness/w2       priority 0    supports the primary")
	r.does("A voter is lost", "mimir fleet change --remove eu", 0, says)
	r.does("Other voters, other rules", "mimir fleet change --patience", 0, "the primary moves by itself")
}

// noQuorum is a majority that is lost: the region that is left goes on alone, until the others are back.
func (r *reader) noQuorum() {
	r.follows(r.eu)
	r.us.Kill()
	r.witness.Kill()
	r.does("A majority is lost for good", "mimir fleet recover --keep eu", 0, "eu is primary, and the only voter")
	r.until("eu takes a write", puts(r.client(r.eu), "alone"))
	r.start(r.us)
	r.follows(r.us)
	r.start(r.witness)
	r.comes(r.here(fmt.Sprintf("mimir fleet enable --witness %s=10.3.0.1:2380", r.witness.Config.Name)),
		"eu, us, witness/w2 vote; the primary moves by itself")
	r.holds(r.eu)
	r.checks("mimir switchover --to us", 0, "us is primary, after eu")
	r.follows(r.eu)
}
