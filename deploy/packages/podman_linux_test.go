package packages

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/mimir-kv/mimir/deploy/packages/image"
)

// ofThePages is the version of which docs/packages.md tells.
const ofThePages = "v0.4.0"

// containers are what an engine of containers is told: to keep everything in a directory of the test, and to do without
// what a machine may not let it: limits, and cgroups for them.
const containers = `[containers]
cgroups = "disabled"
default_ulimits = ["nofile=%[2]d:%[2]d", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "%[1]s/tmp"
volume_path = "%[1]s/volumes"
[network]
network_backend = "netavark"
network_config_dir = "%[1]s/networks"
`

const storage = `[storage]
driver = "overlay"
graphroot = "%[1]s/graph"
runroot = "%[1]s/run"
`

// The commands of packages.md about the image are run as they stand there, by skopeo and podman, with the image that is
// built here: a node starts, and has what it was told after a stop in good order.
func TestTheImageInPodman(t *testing.T) {
	needs(t, "skopeo", "podman", "curl")
	dir := root(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	imageOfThePages(t, dir)
	// Beside the directory skopeo remembers what it copied, in the one place for that.
	// Both make the root of any image with the modes of their own umask, whatever the image says of it.
	sh := aRoom(t, "mkdir -p /var/lib/containers\nmount -t tmpfs tmpfs /var/lib/containers").in(fmt.Sprintf("umask 022\n"+
		"cd %[1]s\nexport CONTAINERS_STORAGE_CONF=%[1]s/storage.conf CONTAINERS_CONF=%[1]s/containers.conf\n", dir))
	sh.does(t, block(t, "packages.md", "sh", "skopeo copy --all"))
	if got := architectures(t, filepath.Join(dir, "images")); !slices.Equal(got, []string{"amd64", "arm64"}) {
		t.Errorf("the copy is for %v", got)
	}
	// It goes on until it is stopped, in the terminal of whoever runs it.
	before, run, ok := strings.Cut(block(t, "packages.md", "sh", "skopeo copy oci-archive"), "podman run ")
	if !ok {
		t.Fatal("packages.md does not run the image")
	}
	sh.does(t, before+"(podman run "+strings.TrimSpace(run)+") >node.log 2>&1 </dev/null &\n")
	t.Cleanup(func() {
		if text, err := os.ReadFile(filepath.Join(dir, "node.log")); t.Failed() && err == nil {
			t.Logf("podman run said\n%s", text)
		}
	})
	sh.puts(t, "greeting", "hello")
	sh.gets(t, "greeting", "hello")
	if out, _ := sh("podman exec us-1 mimir status\n"); !strings.Contains(out, "primary us") {
		t.Errorf("mimir status in the container says\n%s", out)
	}
	sh.does(t, "podman stop us-1\n")
	if out := sh.does(t, "podman inspect --format '{{.State.ExitCode}}' us-1\n"); out != "0\n" {
		t.Errorf("stopped, the node ended with %s", out)
	}
	sh.does(t, "podman start us-1\n")
	sh.gets(t, "greeting", "hello")
}

// imageOfThePages writes the image into a directory, of both architectures, of which one is never run, and what an
// engine of containers is told.
func imageOfThePages(t *testing.T, dir string) {
	t.Helper()
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	s := stamp
	s.Version = ofThePages
	var archive bytes.Buffer
	parts := []image.Part{{Arch: "amd64", Binary: program(t)}, {Arch: "arm64", Binary: program(t)}}
	if err := image.Write(s, []byte("the licence"), parts, &archive); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"mimir_" + s.Number() + "_image.tar": archive.String(), "storage.conf": fmt.Sprintf(storage, dir),
		"containers.conf": fmt.Sprintf(containers, dir, files.Max),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// architectures are those of the one image of an OCI layout.
func architectures(t *testing.T, dir string) (list []string) {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := index.IndexManifest()
	if err != nil || len(outer.Manifests) != 1 {
		t.Fatalf("the layout has %+v, %v", outer, err)
	}
	inner, err := index.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatalf("it is not of several architectures: %v", err)
	}
	platforms, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range platforms.Manifests {
		list = append(list, m.Platform.Architecture)
	}
	return list
}
