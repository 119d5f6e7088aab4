//go:build unix

package packages

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/mimir-kv/mimir/deploy/packages/image"
)

// anImage is the image of this machine's kind, as an archive.
func anImage(t *testing.T) []byte {
	t.Helper()
	return once("image", stamp.Version, func() []byte { return writeImage(t) })
}

// writeImage makes the image of this machine's kind, as an archive.
func writeImage(t *testing.T) []byte {
	t.Helper()
	var archive bytes.Buffer
	parts := []image.Part{{Arch: runtime.GOARCH, Binary: program(t)}}
	if err := image.Write(stamp, []byte("the licence"), parts, &archive); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// unpack writes the files of a tar archive below dir, and returns their headers.
func unpack(t *testing.T, archive io.Reader, dir string) (headers []*tar.Header) {
	t.Helper()
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return headers
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o755)
		} else {
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, text, h.FileInfo().Mode().Perm())
			}
		}
		if err == nil && os.Geteuid() == 0 {
			err = os.Chown(path, h.Uid, h.Gid)
		}
		if err == nil {
			err = os.Chmod(path, h.FileInfo().Mode().Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// unpackImage unpacks the image of this machine's kind into a root of its own, and returns how it is to be run.
func unpackImage(t *testing.T, archive []byte) (dir string, config v1.Config, headers []*tar.Header) {
	t.Helper()
	layoutDir := root(t)
	unpack(t, bytes.NewReader(archive), layoutDir)
	index, err := layout.ImageIndexFromPath(layoutDir)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(outer.Manifests) != 1 ||
		outer.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != stamp.Version {
		t.Fatalf("the layout has %+v", outer.Manifests)
	}
	inner, err := index.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	platforms, err := inner.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(platforms.Manifests) != 1 || platforms.Manifests[0].Platform.Architecture != runtime.GOARCH {
		t.Fatalf("the image is for %+v", platforms.Manifests)
	}
	one, err := inner.Image(platforms.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := one.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	text, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	file, err := one.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	dir = root(t)
	return dir, file.Config, unpack(t, text, dir)
}

// inImage returns how a container of the image runs with further variables, and arguments if they are not nil.
func inImage(t *testing.T, dir string, config v1.Config, arguments, variables []string) *process {
	t.Helper()
	uid, gid, _ := strings.Cut(config.User, ":")
	p := &process{root: dir, directory: image.DataDir, variables: append(config.Env, variables...)}
	var err, errGroup error
	p.uid, err = strconv.Atoi(uid)
	p.gid, errGroup = strconv.Atoi(gid)
	if err != nil || errGroup != nil || p.uid == 0 {
		t.Fatalf("the image runs as %q", config.User)
	}
	if arguments == nil {
		arguments = config.Cmd
	}
	p.arguments = append(append(p.arguments, config.Entrypoint...), arguments...)
	return p
}

// The image has what it needs, and starts a node by what it says of itself.
func TestTheImageStartsANode(t *testing.T) {
	dir, config, headers := unpackImage(t, anImage(t))
	seen := map[string]int64{}
	for _, h := range headers {
		seen[h.Name] = h.Mode
		if h.Typeflag == tar.TypeReg && h.Uid != 0 {
			t.Errorf("%s belongs to %d", h.Name, h.Uid)
		}
	}
	for name, mode := range map[string]int64{
		"usr/bin/mimir": 0o755, "etc/passwd": 0o644, "etc/group": 0o644, "etc/ssl/certs/ca-certificates.crt": 0o644,
		"tmp/": 0o1777, "var/lib/mimir/": 0o700, "usr/share/licenses/mimir/LICENSE": 0o644,
	} {
		if got, there := seen[name]; !there || got != mode {
			t.Errorf("%s: there %v, mode %o, want %o", name, there, got, mode)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "etc/ssl/certs/ca-certificates.crt")); err != nil ||
		bytes.Count(text, []byte("BEGIN CERTIFICATE")) < 50 {
		t.Errorf("authorities: %v, %d bytes", err, len(text))
	}
	at := addresses(t, 2)
	variables := []string{
		"MIMIR_NAME=us-1", "MIMIR_REGION=us", "MIMIR_LISTEN_CLIENT=" + at[0], "MIMIR_LISTEN_PEER=" + at[1],
	}
	version, status := inImage(t, dir, config, []string{"version"}, nil).run(t)
	if status != 0 || !strings.HasPrefix(version, "mimir "+stamp.Version+"\n") ||
		!strings.Contains(version, "commit "+stamp.Commit+" of 2026-11-27T22:00:00Z\n") {
		t.Errorf("version: %d\n%s", status, version)
	}
	inImage(t, dir, config, nil, variables).start(t, at[0]).holds(t)
}
