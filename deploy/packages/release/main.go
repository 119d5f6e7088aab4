// Command release builds everything that Mimir is installed from into a directory: archives, packages of Debian and of
// RPM, the image, the chart, a bill of material of each binary, and the sums of all.
//
//	go run ./release -version v1.2.3 -to ../../dist
//
// It is run in deploy/packages, and builds the work tree around it. The same commit, version and Go give the same
// bytes.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/deploy/packages/bom"
	"github.com/mimir-kv/mimir/deploy/packages/build"
	"github.com/mimir-kv/mimir/deploy/packages/chart"
	"github.com/mimir-kv/mimir/deploy/packages/image"
	"github.com/mimir-kv/mimir/deploy/packages/linux"
	"github.com/mimir-kv/mimir/deploy/packages/packing"
	"github.com/mimir-kv/mimir/server"
)

// sums is the name of the file of sums.
const sums = "SHA256SUMS"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := release{source: "../.."}
	var version, targets string
	flag.StringVar(&version, "version", "", "version, as v1.2.3 or v1.2.3-rc.1; made of the commit if empty")
	flag.StringVar(&r.to, "to", "../../dist", "directory that gets everything; what it has of a release goes")
	flag.StringVar(&targets, "targets", "",
		"systems to build for, as linux/amd64,linux/arm64; all of a release if empty")
	flag.Parse()
	if err := r.run(ctx, version, targets); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is one run.
type release struct {
	source, to string
	stamp      build.Stamp
	license    []byte
	made       []string // names of files
}

func (r *release) run(ctx context.Context, version, targets string) (err error) {
	list, err := chosen(targets)
	if err != nil {
		return err
	}
	if r.stamp, err = build.Read(ctx, r.source, version); err != nil {
		return err
	}
	if r.license, err = os.ReadFile(filepath.Join(r.source, "LICENSE")); err != nil {
		return err
	}
	if err := r.clear(); err != nil {
		return err
	}
	defer func() {
		if err != nil { // nobody knows what is in it
			err = errors.Join(err, r.discard())
		}
	}()
	fmt.Printf("mimir %s, commit %s of %s\n", r.stamp.Version, r.stamp.Commit,
		r.stamp.Date.Format("2006-01-02 15:04:05"))
	binaries, err := os.MkdirTemp("", "mimir-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(binaries)
	var parts []image.Part
	for _, t := range list {
		binary := filepath.Join(binaries, t.OS+"-"+t.Arch)
		if err := build.Binary(ctx, r.source, r.stamp, t, binary); err != nil {
			return err
		}
		if err := r.one(t, binary); err != nil {
			return err
		}
		if t.OS == "linux" {
			parts = append(parts, image.Part{Arch: t.Arch, Binary: binary})
		}
	}
	if len(parts) > 0 {
		err := r.file("mimir_"+r.stamp.Number()+"_image.tar", func(to io.Writer) error {
			return image.Write(r.stamp, r.license, parts, to)
		})
		if err != nil {
			return err
		}
	}
	err = r.file("mimir-chart-"+r.stamp.Number()+".tgz", func(to io.Writer) error { return chart.Write(r.stamp, to) })
	if err != nil {
		return err
	}
	if err := r.unchanged(ctx); err != nil {
		return err
	}
	return r.sum()
}

// unchanged says whether the source is still what the stamp says. What was made in between may be of either, and gets
// no sums.
func (r *release) unchanged(ctx context.Context) error {
	now, err := build.Read(ctx, r.source, r.stamp.Version)
	if err == nil && now.Commit != r.stamp.Commit {
		err = fmt.Errorf("the source was changed while it was built, from %s to %s: build it in a clone of its own",
			r.stamp.Commit, now.Commit)
	}
	return err
}

// chosen returns the targets of a list.
func chosen(list string) ([]build.Target, error) {
	if list == "" {
		return build.Targets, nil
	}
	var targets []build.Target
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(build.Targets, func(t build.Target) bool { return t.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("%q is none of %v", name, build.Targets)
		}
		targets = append(targets, build.Targets[i])
	}
	return targets, nil
}

// clear takes away what an earlier release left in the directory, by its sums; anything else stays.
func (r *release) clear() error {
	if err := os.MkdirAll(r.to, 0o755); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(r.to, sums))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok && filepath.Base(name) == name {
			if err := os.Remove(filepath.Join(r.to, name)); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return os.Remove(filepath.Join(r.to, sums))
}

// discard takes away what was made.
func (r *release) discard() (err error) {
	for _, name := range append(r.made, sums) {
		if failed := os.Remove(filepath.Join(r.to, name)); !errors.Is(failed, fs.ErrNotExist) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// one makes all that has the binary of one system in it, but for the image.
func (r *release) one(t build.Target, binary string) error {
	name := fmt.Sprintf("mimir_%s_%s_%s", r.stamp.Number(), t.OS, t.Arch)
	err := r.file(name+".cdx.json", func(to io.Writer) error { return bom.Write(r.stamp, t, binary, to) })
	if err != nil {
		return err
	}
	files, err := r.archive(t, binary, name)
	if err != nil {
		return err
	}
	if t.OS == "windows" {
		return r.file(name+".zip", func(to io.Writer) error { return packing.Zip(to, files, r.stamp.Date) })
	}
	err = r.file(name+".tar.gz", func(to io.Writer) error { return packing.TarGzip(to, files, r.stamp.Date) })
	if err != nil || t.OS != "linux" {
		return err
	}
	for _, f := range linux.Formats {
		p := linux.Package{Stamp: r.stamp, Arch: t.Arch, Binary: binary, Source: r.source}
		if err := r.file(p.Name(f), func(to io.Writer) error { return p.Write(f, to) }); err != nil {
			return err
		}
	}
	return nil
}

// archive is what the archive of a system has, in one folder.
func (r *release) archive(t build.Target, binary, folder string) ([]packing.File, error) {
	files := []packing.File{
		{Name: folder + "/" + t.Program(), Mode: 0o755, Path: binary},
		{Name: folder + "/LICENSE", Mode: 0o644, Text: r.license},
		{Name: folder + "/mimir.yaml", Mode: 0o644, Text: server.Sample()},
	}
	pages, err := filepath.Glob(filepath.Join(r.source, "docs", "*.md"))
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		files = append(files, packing.File{Name: folder + "/docs/" + filepath.Base(page), Mode: 0o644, Path: page})
	}
	return files, nil
}

// file makes a file of the release.
func (r *release) file(name string, write func(io.Writer) error) error {
	file, err := os.Create(filepath.Join(r.to, name))
	if err != nil {
		return err
	}
	r.made = append(r.made, name)
	err = write(file)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Println(name)
	return nil
}

// sum writes the sums of all that was made, as sha256sum --check reads them.
func (r *release) sum() error {
	slices.Sort(r.made)
	var text strings.Builder
	for _, name := range r.made {
		content, err := os.ReadFile(filepath.Join(r.to, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(content), name)
	}
	return os.WriteFile(filepath.Join(r.to, sums), []byte(text.String()), 0o644)
}
