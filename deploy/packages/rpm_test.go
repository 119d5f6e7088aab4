//go:build unix

package packages

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/deploy/packages/linux"
)

// Tags of a header of RPM, as its format has them.
const (
	tagName       = 1000
	tagVersion    = 1001
	tagRelease    = 1002
	tagBuildHost  = 1007
	tagPostIn     = 1024
	tagPreUn      = 1025
	tagPostUn     = 1026
	tagModes      = 1030
	tagFlags      = 1037
	tagUsers      = 1039
	tagGroups     = 1040
	tagDirIndexes = 1116
	tagBaseNames  = 1117
	tagDirNames   = 1118

	configNoReplace = 1<<0 | 1<<4 // flags of a file
)

// rpmHeader is what a header of RPM has, by tag: numbers or texts.
type rpmHeader struct {
	numbers map[uint32][]int64
	texts   map[uint32][]string
}

// readRPM returns the header of a package that says what is in it.
func readRPM(t *testing.T, rpm []byte) rpmHeader {
	t.Helper()
	const lead = 96
	if len(rpm) < lead || !bytes.HasPrefix(rpm, []byte{0xed, 0xab, 0xee, 0xdb}) {
		t.Fatal("it does not begin as an RPM does")
	}
	_, size := readHeader(t, rpm[lead:]) // of signatures
	h, _ := readHeader(t, rpm[lead+(size+7)/8*8:])
	return h
}

func readHeader(t *testing.T, b []byte) (h rpmHeader, size int) {
	t.Helper()
	const prefix, row = 16, 16
	if len(b) < prefix || !bytes.HasPrefix(b, []byte{0x8e, 0xad, 0xe8, 1}) {
		t.Fatal("a header does not begin as one")
	}
	h = rpmHeader{map[uint32][]int64{}, map[uint32][]string{}}
	rows := int(binary.BigEndian.Uint32(b[8:]))
	size = prefix + row*rows + int(binary.BigEndian.Uint32(b[12:]))
	store := b[prefix+row*rows : size]
	for i := range rows {
		index := b[prefix+row*i:]
		tag, kind := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:])
		value := store[binary.BigEndian.Uint32(index[8:]):]
		for range binary.BigEndian.Uint32(index[12:]) {
			switch kind {
			case 3:
				h.numbers[tag] = append(h.numbers[tag], int64(binary.BigEndian.Uint16(value)))
				value = value[2:]
			case 4:
				h.numbers[tag] = append(h.numbers[tag], int64(binary.BigEndian.Uint32(value)))
				value = value[4:]
			case 6, 8, 9:
				text, rest, _ := bytes.Cut(value, []byte{0})
				h.texts[tag] = append(h.texts[tag], string(text))
				value = rest
			}
		}
	}
	return h, size
}

func (h rpmHeader) text(tag uint32) string { return strings.Join(h.texts[tag], "\n") }

// An RPM has what it should, and says which file is the administrator's.
func TestWhatAnRPMHas(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("an RPM is for linux")
	}
	h := readRPM(t, aPackage(t, linux.RPM, stamp.Version))
	got := h.text(tagName) + " " + h.text(tagVersion) + " " + h.text(tagRelease) + " " + h.text(tagBuildHost)
	if got != "mimir 1.2.3~rc.1 1 mimir" {
		t.Errorf("it is %s", got)
	}
	for tag, script := range map[uint32]string{
		tagPostIn: "linux/rpm/post", tagPreUn: "linux/rpm/preun", tagPostUn: "linux/rpm/postun",
	} {
		if strings.TrimSpace(h.text(tag)) != strings.TrimSpace(string(read(t, script))) {
			t.Errorf("%s is\n%s", script, h.text(tag))
		}
	}
	files := map[string]entry{}
	for i, base := range h.texts[tagBaseNames] {
		name := h.texts[tagDirNames][h.numbers[tagDirIndexes][i]] + base
		mode := h.numbers[tagModes][i]
		isConfig := h.numbers[tagFlags][i]&configNoReplace == configNoReplace
		if isConfig != (name == linux.Configuration) {
			t.Errorf("%s is the administrator's: %v", name, isConfig)
		}
		if mode&0o170000 == 0o100000 {
			files[name] = entry{mode, h.texts[tagUsers][i] + ":" + h.texts[tagGroups][i], ""}
		}
	}
	holdContent(t, files, "/usr/share/licenses/mimir/LICENSE")
}

// Installed by rpm, a node starts once it was told who it is; a removal keeps what it was told, and what it keeps. rpm
// would run the scripts in a root with a shell, which is not there: they are run as they are, beside it, by runScript.
func TestAnRPMStartsANode(t *testing.T) {
	rpm, err := exec.LookPath("rpm")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("rpm is not here, or may not install: an RPM is installed where it is, by root")
	}
	dir := root(t)
	file := filepath.Join(dir, "mimir.rpm")
	if err := os.WriteFile(file, aPackage(t, linux.RPM, stamp.Version), 0o644); err != nil {
		t.Fatal(err)
	}
	directories(t, dir, "etc", "var/lib") // rpm makes what is missing by the umask
	at := func(arguments ...string) {
		t.Helper()
		all := append([]string{"--root", dir, "--dbpath", "/var/lib/rpm"}, arguments...)
		if out, err := exec.CommandContext(t.Context(), rpm, all...).CombinedOutput(); err != nil {
			t.Fatalf("rpm %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
	at("--install", "--nodeps", "--noscripts", "--ignorearch", file)
	at("--verify", "--nodeps", "--noscripts", "mimir")
	if out := runScript(t, dir, "post", "1"); !strings.Contains(out, "set name and region in /etc/mimir/mimir.yaml") {
		t.Errorf("post said\n%s", out)
	}
	p := inUnit(t, dir)
	addresses := addresses(t, 2)
	p.variables = []string{"MIMIR_LISTEN_CLIENT=" + addresses[0], "MIMIR_LISTEN_PEER=" + addresses[1]}
	configure(t, filepath.Join(dir, linux.Configuration))
	n := p.start(t, addresses[0])
	n.holds(t)
	if out := runScript(t, dir, "post", "2"); !strings.Contains(out, "systemctl restart mimir: one node at a time") {
		t.Errorf("post of an upgrade said\n%s", out)
	}
	n.stop()
	runScript(t, dir, "preun", "0")
	at("--erase", "--nodeps", "--noscripts", "mimir")
	runScript(t, dir, "postun", "0")
	if _, err := os.Stat(filepath.Join(dir, linux.Configuration+".rpmsave")); err != nil {
		t.Errorf("a changed configuration is not left: %v", err)
	}
	if kept, err := os.ReadDir(filepath.Join(dir, p.directory)); err != nil || len(kept) == 0 {
		t.Errorf("a removal took what the node keeps: %v", err)
	}
}

// runScript runs a script of the package as rpm does, but that systemd's tools are told of the root.
func runScript(t *testing.T, dir, name, argument string) string {
	t.Helper()
	told := t.TempDir()
	for _, tool := range []string{"systemd-sysusers", "systemd-tmpfiles"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("%s is not here: users of an RPM are made where it is", tool)
		}
		text := fmt.Sprintf("#!/bin/sh\nexec %s --root=%q \"$@\"\n", path, dir)
		if err := os.WriteFile(filepath.Join(told, tool), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), "sh", filepath.Join("linux/rpm", name), argument)
	c.Env = append(os.Environ(), "PATH="+told+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, argument, err, out)
	}
	return string(out)
}
