// Package linux makes the packages of Debian and of RPM.
//
// It promises that what is installed starts nothing, and that an upgrade restarts nothing; that the configuration is
// the administrator's from then on; that a removal stops the node and takes nothing of what it kept; and that the node
// runs as a user of its own that can write only where it has to.
package linux

import (
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"

	"github.com/mimir-kv/mimir/deploy/packages/build"
	"github.com/mimir-kv/mimir/server"
)

// Format is a kind of package.
type Format string

// Formats.
const (
	Deb Format = "deb"
	RPM Format = "rpm"
)

// Formats are all of them.
var Formats = []Format{Deb, RPM}

// Where things are once they are installed.
const (
	Program       = "/usr/bin/mimir"
	Configuration = "/etc/mimir/mimir.yaml"
	Unit          = "/usr/lib/systemd/system/mimir.service"
	Users         = "/usr/lib/sysusers.d/mimir.conf"
	Directories   = "/usr/lib/tmpfiles.d/mimir.conf"
	Pages         = "/usr/share/doc/mimir"
)

//go:embed system deb rpm
var sources embed.FS

// Package is what goes into a package.
type Package struct {
	Stamp  build.Stamp
	Arch   string // by Go's name
	Binary string // file of mimir for linux and this architecture
	Source string // work tree, of which pages and licence are taken
}

// Name is the file name of the package, as others of its kind have it.
func (p *Package) Name(f Format) string {
	info := p.info(f)
	return f.packager().ConventionalFileName(nfpm.WithDefaults(info))
}

// Write writes the package.
func (p *Package) Write(f Format, to io.Writer) error {
	staged, err := os.MkdirTemp("", "mimir-package-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staged)
	s := stage{dir: staged, stamp: p.Stamp}
	s.file(Program, 0o755, files.TypeFile, func() ([]byte, error) { return os.ReadFile(p.Binary) })
	s.file(Configuration, 0o644, files.TypeConfigNoReplace, func() ([]byte, error) { return server.Sample(), nil })
	s.file(Unit, 0o644, files.TypeFile, embedded("system/mimir.service"))
	s.file(Users, 0o644, files.TypeFile, embedded("system/sysusers.conf"))
	s.file(Directories, 0o644, files.TypeFile, embedded("system/tmpfiles.conf"))
	s.directory("/etc/mimir")
	s.directory(Pages)
	p.stagePages(&s, f)
	info := p.info(f)
	info.Scripts = s.scripts(f)
	if s.err != nil {
		return fmt.Errorf("stage the %s: %w", f, s.err)
	}
	info.Contents = s.contents
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, string(f)); err != nil {
		return fmt.Errorf("prepare the %s: %w", f, err)
	}
	if err := f.packager().Package(info, to); err != nil {
		return fmt.Errorf("write the %s: %w", f, err)
	}
	return nil
}

// stagePages adds the documentation, and the licence where the kind of package has it.
func (p *Package) stagePages(s *stage, f Format) {
	pages, err := filepath.Glob(filepath.Join(p.Source, "docs", "*.md"))
	if err == nil && len(pages) == 0 {
		err = fmt.Errorf("no docs/*.md in %s: it is to be the work tree of mimir", p.Source)
	}
	if err != nil {
		s.fail(err)
		return
	}
	for _, page := range pages {
		s.file(Pages+"/"+filepath.Base(page), 0o644, files.TypeFile,
			func() ([]byte, error) { return os.ReadFile(page) })
	}
	license := Pages + "/copyright"
	if f == RPM {
		license = "/usr/share/licenses/mimir/LICENSE"
	}
	s.file(license, 0o644, files.TypeFile, func() ([]byte, error) {
		return os.ReadFile(filepath.Join(p.Source, "LICENSE"))
	})
}

// info is what the package says of itself.
func (p *Package) info(f Format) *nfpm.Info {
	info := &nfpm.Info{
		Name: "mimir", Arch: p.Arch, Platform: "linux", Version: p.Stamp.Version, Release: "1", Section: "database",
		Priority: "optional", Maintainer: "The Mimir authors <mimir@mimir.invalid>", Vendor: "Mimir",
		License:         "Apache-2.0",
		Description:     "etcd compatible store that keeps one history of writes identical in several regions",
		MTime:           p.Stamp.Date,
		DisableGlobbing: true,
	}
	switch f {
	case Deb:
		info.Depends = []string{"passwd"} // for useradd, where there is no systemd-sysusers
		info.Deb.Compression = "gzip"
	case RPM:
		info.Depends = []string{"/usr/sbin/useradd"}
		info.RPM.Summary = info.Description
		info.RPM.BuildHost = "mimir"
		info.RPM.Compression = "gzip"
	}
	return info
}

func (f Format) packager() nfpm.Packager {
	if f == RPM {
		return rpm.DefaultRPM
	}
	return deb.Default
}

// embedded reads a file that is part of this package.
func embedded(name string) func() ([]byte, error) {
	return func() ([]byte, error) { return sources.ReadFile(name) }
}

// stage is a directory from which a package is made. The first error stays.
type stage struct {
	dir      string
	stamp    build.Stamp
	contents files.Contents
	err      error
}

func (s *stage) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// write puts a file into the directory, under a name that is not used there.
func (s *stage) write(text func() ([]byte, error)) (path string) {
	content, err := text()
	if err != nil {
		s.fail(err)
		return ""
	}
	file, err := os.CreateTemp(s.dir, "")
	if err != nil {
		s.fail(err)
		return ""
	}
	if _, err := file.Write(content); err != nil {
		s.fail(err)
	}
	s.fail(file.Close())
	return file.Name()
}

func (s *stage) file(to string, mode fs.FileMode, kind string, text func() ([]byte, error)) {
	s.contents = append(s.contents, &files.Content{
		Source: s.write(text), Destination: to, Type: kind, FileInfo: s.owned(mode),
	})
}

func (s *stage) directory(to string) {
	s.contents = append(s.contents, &files.Content{Destination: to, Type: files.TypeDir, FileInfo: s.owned(0o755)})
}

func (s *stage) owned(mode fs.FileMode) *files.ContentFileInfo {
	return &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: s.stamp.Date}
}

// scripts are what the kind of package runs when it is installed and removed.
func (s *stage) scripts(f Format) nfpm.Scripts {
	if f == RPM {
		return nfpm.Scripts{
			PostInstall: s.write(embedded("rpm/post")), PreRemove: s.write(embedded("rpm/preun")),
			PostRemove: s.write(embedded("rpm/postun")),
		}
	}
	return nfpm.Scripts{
		PostInstall: s.write(embedded("deb/postinst")), PreRemove: s.write(embedded("deb/prerm")),
		PostRemove: s.write(embedded("deb/postrm")),
	}
}
