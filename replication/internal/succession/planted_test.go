package succession

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// plantedMistakes are edits of the machine, or of the state under it, that the scripts have to notice. Those that
// break what is promised must be caught by the walks as well, which know nothing but the properties.
var plantedMistakes = []struct {
	name, file, old, new string
	property             string // that the walks find violated; "": the scripts alone
}{
	{
		"a seal is lifted without a refusal", "handing.go",
		"a.silence = in.Err", "a.silence, a.refused = in.Err, a.aborted != nil", "two primaries in one history",
	},
	{
		"a promise is forgotten by a restart", "../../timeline/state.go",
		"Refused  Refusal     `json:\",omitzero\"`",
		"Refused  Refusal     `json:\"-\"`", "two primaries in one history",
	},
	{
		"an answer is taken for the wrong handoff", "handing.go",
		"if a == nil || a.seal.Handoff != in.Handover.Handoff || !in.Handover.of(seal) {",
		"if a == nil || seal == nil {", "two primaries in one history",
	},
	{
		"a refusal is promised before it is committed", "taking.go",
		"m.refusals[id] = refusal{in.Call, h}",
		"_ = id\n\t\tm.answer(in.Call, Reply{Refused: true})", "two primaries in one history",
	},
	{
		"the target is asked to refuse only once", "handing.go",
		"case m.now < a.askAt:", "case m.now < a.askAt || a.refusing && a.silence != nil:", "stays sealed",
	},
	{
		"a leader that comes up leaves an open seal alone", "handing.go",
		"\t\tm.attempt = a\n", "\t\treturn\n", "stays sealed",
	},
	{
		"the target begins while its stream runs", "taking.go",
		"\tif m.stop() {\n\t\treturn\n\t}\n\to.proposed = true", "\tm.stop()\n\to.proposed = true", "",
	},
	{
		"a forced epoch may be that of an open handoff", "takeover.go",
		"epoch = seal.Epoch + 2", "epoch = seal.Epoch + 1", "",
	},
	{
		"a copy is installed before a majority has it", "following.go", "if !c.staged {", "if false {", "",
	},
	{
		"a deposed leader goes on with the copy of its term", "machine.go",
		`m.copied, m.needs, m.pausedTo, m.vain = term, nil, nil,`,
		`m.needs, m.pausedTo, m.vain = term, nil,`, "installs a copy that is gone",
	},
	{
		"a deposed leader waits for what it had proposed", "machine.go",
		`m.deciding, m.attempt, m.copied, m.needs, m.pausedTo, m.vain = term, nil,`,
		`m.attempt, m.copied, m.needs, m.pausedTo, m.vain = term,`, "",
	},
	{
		"a founder begins although somebody did not answer", "founding.go",
		"if len(m.view.Fleet.Silent) > 0 {", "if false {", "",
	},
	{
		"who forms a fleet takes an older answer for that", "founding.go", "case l.Asked <= f.since:", "case false:",
		"TestWalksOfForming",
	},
	{
		"who forms a fleet does not care who does as well", "founding.go", "case l.Forming:", "case false:",
		"TestWalksOfForming",
	},
	{
		"a copy takes the place of what is in no tail", "following.go",
		"fork := parts(s, c.Copy)", "var fork *Fork", "TestWalksWithLostDisks",
	},
	{
		"what the rules refuse is proposed", "machine.go",
		"if outcome, why := timeline.WouldBegin(m.view.State, r); outcome",
		"if outcome, why := timeline.Applied, \"\"; outcome", "",
	},
	{
		"what was refused is tried again at once", "pause.go",
		"p.pausedTo = p.now + p.limits.Retry<<p.vain", "p.pausedTo = p.now", "a loop",
	},
	{
		"what was refused is tried again as often as ever", "pause.go",
		"p.vain = min(p.vain+1, maxBackOff)", "p.vain = min(p.vain, maxBackOff)", "",
	},
	{
		"a history is given up for a source that has forgotten the claim", "following.go",
		" && !timeline.Supersedes(highest, claim)", "", "",
	},
	{
		"claims of one epoch and one region are not told apart", "../../timeline/history.go",
		"case a.Epoch != b.Epoch || a.Primary != b.Primary:", "case true:", "",
	},
	{
		"a stream goes on that cannot bring what was forgotten", "following.go",
		" || m.running.deed == Stream && forgot(m.view, source) {", " {", "",
	},
	{
		"a region is primary again by a copy of a reign that it has forgotten", "following.go",
		"ownForgotten(s, last) {", "false && ownForgotten(s, last) {", "",
	},
	{
		"what follows a refused reign is taken for damage", "../../timeline/machine.go",
		"case s.passedOver(r.Previous):", "case false:", "",
	},
	{
		"a sealed region is forced although its target is known to have begun", "takeover.go",
		"claim.Epoch > seal.Epoch &&", "false &&", "",
	},
	{
		"a region that gave up its history keeps it although the other one is there", "takeover.go",
		`holder := holds(v, o.diverged); holder != "" {`, `holder := holds(v, o.diverged); false {`, "",
	},
	{
		"a region that has forgotten its own reign goes on with another", "machine.go",
		" || m.outlived(claim) {", " {", "",
	},
	{
		"a region goes back for as long as a node hangs", "rewinding.go", "case m.now < a.until:", "case true:", "",
	},
	{
		"a copy that is gone is offered for ever", "following.go", "case in.Gone:", "case false:", "",
	},
	{
		"the copy of a former source is taken later", "following.go", "\t\tm.copied = nil\n", "", "",
	},
}

func TestPlantedMistakesAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the package once for each")
	}
	for _, p := range plantedMistakes {
		t.Run(strings.ReplaceAll(p.name, " ", "_"), func(t *testing.T) {
			program := build(t, plant(t, p.file, p.old, p.new))
			out, failed := noticed(t, program, "^Test(Scripts|ADecision.*)$")
			if !strings.Contains(out, "--- FAIL: TestScripts") {
				t.Errorf("the scripts did not notice it:\n%s", out)
			}
			for _, walks := range walksFor(p.property) { // until they name it
				if strings.Contains(out, p.property) {
					break
				}
				more, fails := noticed(t, program, walks)
				out, failed = out+more, failed || fails
			}
			if !failed {
				t.Fatal("nothing noticed it")
			}
			if !strings.Contains(out, p.property) {
				t.Errorf("the walks do not name the property %q:\n%.3000s", p.property, out)
			}
		})
	}
}

// walksFor returns the tests that have to find a property violated, or that is one of them by name.
func walksFor(property string) []string {
	switch {
	case property == "":
		return nil
	case strings.HasPrefix(property, "Test"):
		return []string{"^" + property + "$"}
	}
	return []string{"^TestWalks$", "^TestWalksWithLostDisks$"}
}

// build builds the tests of the package with an overlay.
func build(t *testing.T, overlay string) (program string) {
	program = filepath.Join(t.TempDir(), "damaged.test")
	args := []string{"test", "-overlay", overlay, "-vet=off", "-ldflags=-s -w", "-c", "-o", program, "."}
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Env = append(os.Environ(), "CGO_ENABLED=0") // compiled once for all that is built in tests
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// noticed runs tests of a program that build built, and reports whether they failed.
func noticed(t *testing.T, program, tests string) (out string, failed bool) {
	p, err := exec.CommandContext(t.Context(), program, "-test.timeout=120s", "-test.run", tests).CombinedOutput()
	return string(p), err != nil
}

// plant damages one file and returns the overlay that puts it in place.
func plant(t *testing.T, file, old, damaged string) string {
	path, err := filepath.Abs(filepath.FromSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), old); n != 1 {
		t.Fatalf("%s holds %d times %q, want once: the code has moved on, and this mistake has to move with it", file,
			n, old)
	}
	dir := t.TempDir()
	to := filepath.Join(dir, "damaged.go")
	if err := os.WriteFile(to, []byte(strings.Replace(string(source), old, damaged, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: to}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return list
}
