//go:build unix

package packages

import (
	"bytes"
	"encoding/binary"
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

// What rpm says of it, and what it puts onto a disk. Its scripts are not run: they have no shell there.
func TestRPMTakesAnRPM(t *testing.T) {
	rpm, err := exec.LookPath("rpm")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("rpm is not here, or may not install: an RPM is installed where it is, by root")
	}
	dir := root(t)
	file := filepath.Join(dir, "mimir.rpm")
	if err := os.WriteFile(file, aPackage(t, linux.RPM, stamp.Version), 0o644); err != nil {
		t.Fatal(err)
	}
	at := func(arguments ...string) {
		t.Helper()
		all := append([]string{"--root", dir, "--dbpath", "/var/lib/rpm"}, arguments...)
		if out, err := exec.CommandContext(t.Context(), rpm, all...).CombinedOutput(); err != nil {
			t.Fatalf("rpm %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
	at("--install", "--nodeps", "--noscripts", "--ignorearch", file)
	at("--verify", "--nodeps", "--noscripts", "mimir")
	configure(t, filepath.Join(dir, linux.Configuration))
	at("--erase", "--nodeps", "--noscripts", "mimir")
	if _, err := os.Stat(filepath.Join(dir, linux.Configuration+".rpmsave")); err != nil {
		t.Errorf("a changed configuration is not left: %v", err)
	}
}
