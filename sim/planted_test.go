package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// planted is a bug: some edits, and how it is to be found.
type planted struct {
	name   string
	edits  []edit
	flags  []string
	caught []string // invariants, one of which the failure must name
	// elsewhere is a package and the tests of it that find the bug, where no fleet in one process can; empty: one can.
	elsewhere string
}

// edit replaces old by new in file, relative to the module.
type edit struct{ file, old, new string }

// plantedSeeds is within how many seeds each bug has to be found.
const plantedSeeds = 60

var plantedBugs = []planted{
	{
		name: "early acknowledgement",
		edits: []edit{{
			"replication/internal/propose/pipeline.go",
			"\tswitch _, err := p.group.Propose(ctx, f.term, [][]byte{payload}); {",
			"\tat := stamp.Position\n\tfor _, u := range f.proposals {\n\t\tat += " +
				"contract.Position(len(u.commands))\n" +
				"\t\tp.applied(u, &contract.Receipt{Epoch: stamp.Epoch, Position: at, Regions: " +
				"1})\n\t}\n\tf.proposals = nil\n" +
				"\tswitch _, err := p.group.Propose(ctx, f.term, [][]byte{payload}); {",
		}},
		// lost, or not there yet for a read that began later
		caught: []string{"invariant 1:", "invariant 2:", "invariant 8:"},
	},
	{
		name: "off-by-one resume",
		edits: []edit{
			{"replication/internal/stream/reader.go", "index = min(index, found)", "index = min(index, found+1)"},
		},
		caught: []string{"invariant 15:"},
	},
	{
		name: "skipped epoch check: what is handed over goes on being written",
		edits: []edit{
			{"replication/timeline/state.go", "return s.Role() == Primary && s.Seal == nil",
				"return s.Role() == Primary"},
			{"replication/timeline/machine.go", "case s.Seal != nil:\n\t\treturn refusal(\"sealed at",
				"case false:\n\t\treturn refusal(\"sealed at"},
		},
		caught: []string{"invariant 6:"},
	},
	{
		name: "position saved apart from its data",
		edits: []edit{{
			"kv/apply.go",
			"\tif err := r.write.Metadata(meta); err != nil {",
			"\tapart := g.db.NewBatch()\n\tif err := errors.Join(mvcc.NewWriter(apart).Metadata(meta), " +
				"apart.Commit(pebble.NoSync)); err != nil {",
		}},
		flags:  []string{"-sim.storage=kv"},
		caught: []string{"invariant 5:", "invariant 10:"},
	},
}

// TestPlantedBugsAreCaught builds the tree with one bug at a time and expects TestSeeds to fail for it.
func TestPlantedBugsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the tree four times")
	}
	for _, b := range plantedBugs {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) { b.find(t, plantedSeeds) })
	}
}

// find builds the tree with the bug, and expects as many seeds to find it.
func (b planted) find(t *testing.T, seeds int) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "-vet=off", "-overlay", b.plant(t, root), "-count=1", "-failfast", "-timeout", left(t)}
	if b.elsewhere != "" {
		where, tests, _ := strings.Cut(b.elsewhere, " ")
		args = append(args, where, "-run", tests)
	} else {
		args = append(args, "./sim", "-run", "^TestSeeds$", fmt.Sprintf("-sim.seeds=%d", seeds), "-sim.trace=0")
		args = append(args, b.flags...)
	}
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir, c.Env = root, append(os.Environ(), "CGO_ENABLED=0") // compiled once for all that is built in tests
	out, err := c.CombinedOutput()
	if err == nil {
		t.Fatalf("%s did not find it within %d seeds", strings.Join(c.Args, " "), seeds)
	}
	for _, want := range b.caught {
		if i := strings.Index(string(out), want); i >= 0 {
			line, _, _ := strings.Cut(string(out[i:]), "\n")
			t.Logf("caught at %s: %s", seedIn(out), line)
			return
		}
	}
	t.Fatalf("failed for another reason: %v\n%s", err, out)
}

// seedIn returns the seed that failed, as the output names it.
func seedIn(out []byte) string {
	i := strings.Index(string(out), "seed=")
	if i < 0 {
		return "no seed"
	}
	seed, _, _ := strings.Cut(string(out[i:]), " ")
	return seed
}

// left is the time that this test has, as a -timeout. A bound of its own would count how busy the machine is.
func left(t *testing.T) string {
	deadline, bounded := t.Deadline()
	if !bounded {
		return "0"
	}
	return time.Until(deadline).String()
}

// plant writes the damaged files and returns the overlay that puts them in place.
func (b planted) plant(t *testing.T, root string) string {
	dir := t.TempDir()
	replace, damaged := map[string]string{}, map[string]string{}
	for _, e := range b.edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		source, ok := damaged[path]
		if !ok {
			read, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			source = string(read)
		}
		if n := strings.Count(source, e.old); n != 1 {
			t.Fatalf("%s holds %d times %q, want once: the code has moved on, and this bug has to move with it", e.file,
				n, e.old)
		}
		damaged[path] = strings.Replace(source, e.old, e.new, 1)
	}
	for path, source := range damaged {
		file := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
