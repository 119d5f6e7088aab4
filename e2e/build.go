package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Build builds the mimir of this tree, static as it is released. It must be called inside the tree.
func Build(ctx context.Context, binary string) error {
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary,
		"github.com/mimir-kv/mimir/cmd/mimir")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	text, err := build.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build mimir: %w: %s", err, strings.TrimSpace(string(text)))
	}
	return nil
}
