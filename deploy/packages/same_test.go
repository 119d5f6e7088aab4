//go:build unix

package packages

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/deploy/packages/bom"
	"github.com/mimir-kv/mimir/deploy/packages/build"
	"github.com/mimir-kv/mimir/deploy/packages/chart"
	"github.com/mimir-kv/mimir/deploy/packages/linux"
)

// Built twice, the second time from a copy of the source elsewhere, a binary is the same, and so is all that is packed.
func TestTwoBuildsGiveTheSameBytes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what is packed is for linux")
	}
	first := program(t)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	copySource(t, elsewhere)
	second := filepath.Join(t.TempDir(), "mimir")
	target := build.Target{OS: "linux", Arch: runtime.GOARCH}
	if err := build.Binary(t.Context(), elsewhere, stamp, target, second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, first), read(t, second)) {
		t.Error("the binaries differ")
	}
	same(t, "image", func() []byte { return anImage(t) }, func() []byte { return writeImage(t) })
	for _, f := range linux.Formats {
		same(t, string(f), func() []byte { return aPackage(t, f, stamp.Version) }, func() []byte {
			return writePackage(t, f, stamp)
		})
	}
	packed := func() []byte {
		var b bytes.Buffer
		if err := chart.Write(stamp, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	same(t, "chart", packed, packed)
	bill := func() []byte {
		var b bytes.Buffer
		if err := bom.Write(stamp, target, first, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	same(t, "bill", bill, bill)
}

// same holds what was made before against what is made with another directory for temporary files.
func same(t *testing.T, what string, before, anew func() []byte) {
	t.Helper()
	first := before()
	t.Setenv("TMPDIR", root(t))
	if second := anew(); len(first) == 0 || !bytes.Equal(first, second) {
		t.Errorf("%s: %d and %d bytes, which differ", what, len(first), len(second))
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// copySource copies all rooms, but for what was made of them.
func copySource(t *testing.T, to string) {
	t.Helper()
	entries, err := os.ReadDir(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		from, name := filepath.Join(source, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.Name() == "go.mod", e.Name() == "go.sum":
			err = os.WriteFile(name, read(t, from), 0o600)
		case e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "dist":
			err = os.CopyFS(name, os.DirFS(from))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
