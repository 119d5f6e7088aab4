package lint

import (
	"os/exec"
	"strings"
	"testing"
)

// heavy is what a program that embeds the library must not link for it: the library has seams there.
var heavy = []string{
	"google.golang.org/grpc", "github.com/cockroachdb/", "github.com/getsentry/", "github.com/prometheus/",
}

// maxLinked bounds the packages that the library links, those of the standard library and of this tree not counted.
// Raft with protobuf, and compression, make 44.
const maxLinked = 48

func TestTheLibraryIsLightToEmbed(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./replication")
	list.Dir = ".."
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var linked []string
	for _, path := range strings.Fields(string(out)) {
		if strings.HasPrefix(path, module) {
			continue
		}
		linked = append(linked, path)
		for _, prefix := range heavy {
			if strings.HasPrefix(path, prefix) {
				t.Errorf("replication links %s", path)
			}
		}
	}
	if len(linked) > maxLinked {
		t.Errorf("replication links %d packages, the bound is %d:\n%s", len(linked), maxLinked,
			strings.Join(linked, "\n"))
	}
	if len(linked) == 0 {
		t.Error("go list names no package: the test sees nothing")
	}
}
