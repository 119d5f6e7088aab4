// Package image makes the OCI image of mimir from nothing: the static binary, a user, the authorities that sign public
// object storage, and the directories that it writes to.
//
// It promises an image for each architecture under one name, that runs as nobody's user without a shell, and whose
// bytes depend on the binaries and the stamp alone.
package image

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/mimir-kv/mimir/deploy/packages/build"
	"github.com/mimir-kv/mimir/deploy/packages/packing"
)

// User is who the image runs as; its group has the same number.
const User = 65532

// Where things are in the image.
const (
	Program = "/usr/bin/mimir"
	DataDir = "/var/lib/mimir"
)

// Part is the image of one architecture.
type Part struct {
	Arch   string // by Go's name
	Binary string // file of mimir for linux and this architecture
}

// Write writes the image of all parts as an archive of an OCI layout, tagged with the version.
func Write(s build.Stamp, license []byte, parts []Part, to io.Writer) error {
	dir, err := os.MkdirTemp("", "mimir-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := Layout(s, license, parts, dir); err != nil {
		return err
	}
	files, err := listed(dir)
	if err != nil {
		return err
	}
	return packing.Tar(to, files, s.Date)
}

// Layout writes the image of all parts as an OCI layout into a directory that is empty.
func Layout(s build.Stamp, license []byte, parts []Part, dir string) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range parts {
		image, err := one(s, license, p)
		if err != nil {
			return fmt.Errorf("image for %s: %w", p.Arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: p.Arch}},
		})
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	name := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": s.Version})
	if err := path.AppendIndex(index, name); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	return nil
}

// one makes the image of one architecture.
func one(s build.Stamp, license []byte, p Part) (v1.Image, error) {
	var text bytes.Buffer
	if err := packing.Tar(&text, content(license, p.Binary), s.Date); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	created := v1.Time{Time: s.Date}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, History: v1.History{Created: created, CreatedBy: "mimir " + s.Version},
	})
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Created, file.OS, file.Architecture = created, "linux", p.Arch
	file.Config = config(s)
	return mutate.ConfigFile(image, file)
}

// config is how the image runs.
func config(s build.Stamp) v1.Config {
	return v1.Config{
		User:         fmt.Sprintf("%d:%d", User, User),
		Entrypoint:   []string{Program},
		Cmd:          []string{"serve"},
		Env:          []string{"PATH=/usr/bin", "MIMIR_DATA_DIR=" + DataDir + "/data"},
		ExposedPorts: map[string]struct{}{"2379/tcp": {}, "2380/tcp": {}, "2381/tcp": {}},
		WorkingDir:   "/",
		StopSignal:   "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title": "mimir", "org.opencontainers.image.version": s.Version,
			"org.opencontainers.image.revision": s.Commit, "org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
}

// content is all that is in the image.
func content(license []byte, binary string) []packing.File {
	directory := func(name string) packing.File { return packing.File{Name: name, Mode: fs.ModeDir | 0o755} }
	text := func(name, text string) packing.File {
		return packing.File{Name: name, Mode: 0o644, Text: []byte(text)}
	}
	return []packing.File{
		directory("etc"),
		text("etc/group", fmt.Sprintf("root:x:0:\nmimir:x:%d:\n", User)),
		directory("etc/mimir"),
		text("etc/passwd", fmt.Sprintf("root:x:0:0:root:/:/nologin\nmimir:x:%d:%d:Mimir:%s:/nologin\n", User, User,
			DataDir)),
		directory("etc/ssl"),
		directory("etc/ssl/certs"),
		text("etc/ssl/certs/ca-certificates.crt", authorities()),
		{Name: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		directory("usr"),
		directory("usr/bin"),
		{Name: "usr/bin/mimir", Mode: 0o755, Path: binary},
		directory("usr/share"),
		directory("usr/share/licenses"),
		directory("usr/share/licenses/mimir"),
		text("usr/share/licenses/mimir/LICENSE", string(license)),
		directory("var"),
		directory("var/lib"),
		{Name: "var/lib/mimir", Mode: fs.ModeDir | 0o700, UID: User, GID: User},
	}
}

// authorities are those of Mozilla's programme that are trusted without conditions, which a file of certificates could
// not say.
func authorities() string {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return text.String()
}

// listed returns the files of a directory by name.
func listed(dir string) (files []packing.File, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		file := packing.File{Name: filepath.ToSlash(name), Mode: 0o644, Path: path}
		if d.IsDir() {
			file.Mode, file.Path = fs.ModeDir|0o755, ""
		}
		files = append(files, file)
		return nil
	})
	slices.SortFunc(files, func(a, b packing.File) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return files, err
}
