package browser

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

// Token is an operator's at every node of a fleet of this package.
const Token = "an-operators-token-for-the-console"

// Fleet is a real fleet of processes on this machine.
type Fleet struct {
	*localfleet.Fleet
	binary, tokens string
}

// Build builds mimir in a directory, and returns where it is.
func Build(ctx context.Context, dir string) (binary string, err error) {
	// In its own module: this one does not know what mimir needs.
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/mimir-kv/mimir").Output()
	if err != nil {
		return "", fmt.Errorf("find mimir: %w", err)
	}
	binary = filepath.Join(dir, "mimir")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "./cmd/mimir")
	build.Dir = strings.TrimSpace(string(root))
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mimir: %w: %s", err, text)
	}
	return binary, nil
}

// NewFleet starts a fleet of us and eu in a directory, with a witness if it is to vote; its nodes have further flags.
// The caller closes it.
func NewFleet(
	ctx context.Context, binary, dir string, nodes int, votes bool, flags ...string,
) (*Fleet, error) {
	f := &Fleet{binary: binary, tokens: filepath.Join(dir, "tokens")}
	if err := os.WriteFile(f.tokens, []byte("people "+Token+"\n"), 0o600); err != nil {
		return nil, err
	}
	o := localfleet.Options{
		Dir: dir, Regions: []string{"us", "eu"}, Nodes: nodes,
		Command: append([]string{f.binary, "serve", "--operator-token-file", f.tokens}, flags...),
	}
	if votes {
		o.Witness = []string{f.binary, "witness"}
	}
	local, err := localfleet.New(o)
	if err != nil {
		return nil, err
	}
	f.Fleet = local
	all := f.Nodes()
	if f.Witness != nil {
		all = append(all, f.Witness)
	}
	if err = localfleet.Start(all); err == nil {
		err = f.await(ctx)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// await waits until every node serves the page.
func (f *Fleet) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for _, n := range f.Nodes() {
		for !serves(ctx, ClientConsole(n)) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not serve the console: %w: %s", n.Config.Name, ctx.Err(), n.LastWords())
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// startTime bounds the start of a fleet, which takes seconds.
const startTime = 2 * time.Minute

func serves(ctx context.Context, url string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// Close ends every process of the fleet.
func (f *Fleet) Close() {
	if f.Witness != nil {
		f.Witness.Kill()
	}
	f.Fleet.Close()
}

// Console is where a node serves the page.
func Console(n *localfleet.Node) string { return "http://" + n.Config.ListenHTTP + "/console/" }

// ClientConsole is where a node serves the page at the port for clients, at which keys are read too.
func ClientConsole(n *localfleet.Node) string { return "http://" + n.Config.ListenClient + "/console/" }

// Run runs a command as the page shows it, with more arguments, as an operator.
func (f *Fleet) Run(ctx context.Context, command string, more ...string) (output string, err error) {
	words := append(strings.Fields(command), more...)
	c := exec.CommandContext(ctx, f.binary, words[1:]...)
	c.Env = append(localfleet.Environment(), "MIMIR_TOKEN_FILE="+f.tokens)
	text, err := c.CombinedOutput()
	return string(text), err
}
