package atrest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const category = vfs.WriteCategoryUnspecified

func keysOf(t testing.TB, lines ...string) Keys {
	t.Helper()
	text := ""
	for _, line := range lines {
		text += line + "\n"
	}
	keys, err := ParseKeys([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newLine() string { line, _ := NewKey(); return line }

func write(t testing.TB, fs vfs.FS, name, text string) {
	t.Helper()
	f, err := fs.Create(name, category)
	if err == nil {
		_, err = f.Write([]byte(text))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func read(fs vfs.FS, name string) (string, error) {
	f, err := fs.Open(name)
	if err != nil {
		return "", err
	}
	p, err := io.ReadAll(f)
	return string(p), errors.Join(err, f.Close())
}

func mustHold(t testing.TB, fs vfs.FS, name, want string) {
	t.Helper()
	got, err := read(fs, name)
	if err != nil || got != want {
		t.Fatalf("%s: %.40q of %d bytes, %v; want %.40q of %d", name, got, len(got), err, want, len(want))
	}
	if info, err := fs.Stat(name); err != nil || info.Size() != int64(len(want)) {
		t.Fatalf("%s: %v, want %d bytes", name, err, len(want))
	}
}

// What is written anywhere, by several handles, is read everywhere as from a plain file, and none of it is below (A1).
func TestARewritableFileIsAFile(t *testing.T) {
	below := vfs.NewMem()
	disk := New(below, keysOf(t, newLine()))
	random := rand.New(rand.NewPCG(1, 2))
	var handles []vfs.File
	for range 3 {
		f, err := disk.OpenReadWrite("file", category)
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, f)
	}
	var want []byte
	for i := range 1000 {
		f := handles[random.IntN(len(handles))]
		offset, n := random.IntN(len(want)+40), random.IntN(50)
		if i%200 == 0 {
			n = random.IntN(3 * chunkBytes)
		}
		p := bytes.Repeat([]byte{byte('a' + i%26)}, n)
		if got, err := f.WriteAt(p, int64(offset)); got != n || err != nil {
			t.Fatal(got, err)
		}
		if end := offset + n; n > 0 && end > len(want) {
			want = append(want, make([]byte, end-len(want))...)
		} else if n == 0 && offset > len(want) { // zeros up to there
			want = append(want, make([]byte, offset-len(want))...)
		}
		copy(want[offset:], p)
		at, got := random.IntN(len(want)+2), make([]byte, random.IntN(80))
		m, err := f.ReadAt(got, int64(at))
		if rest := want[min(at, len(want)):]; !bytes.Equal(got[:m], rest[:min(len(rest), len(got))]) ||
			(m < len(got)) != (err == io.EOF) {
			t.Fatalf("step %d: read %d of %d at %d of %d: %v", i, m, len(got), at, len(want), err)
		}
	}
	for _, f := range handles {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mustHold(t, disk, "file", string(want))
	raw, err := read(below, "file")
	if err != nil {
		t.Fatal(err)
	}
	stored := []byte(raw[pageBytes : len(raw)-slackBytes])
	for letter := range 'z' + 1 { // the content is runs of letters, and the zeros of holes
		if at := bytes.Index(stored, bytes.Repeat([]byte{byte(letter)}, 16)); at >= 0 {
			t.Errorf("content can be seen below: %q at %d", letter, at)
		}
	}
	if len(disk.gates) > 0 {
		t.Error("gates of closed files are kept:", len(disk.gates))
	}
}

// Whoever reads what was written does not see it half while its neighbours are written.
func TestReadersSeeWholeBlocks(t *testing.T) {
	disk := New(vfs.Default, keysOf(t, newLine()))
	name := t.TempDir() + "/file"
	f, err := disk.OpenReadWrite(name, category)
	if err != nil {
		t.Fatal(err)
	}
	other, err := disk.OpenReadWrite(name, category)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("stable"), 0); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for i := range 3000 {
			if _, err := f.WriteAt([]byte{byte(i)}, 6+int64(i%10)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 3000 {
		p := make([]byte, 6)
		if _, err := other.ReadAt(p, 0); string(p) != "stable" || err != nil {
			t.Errorf("%q, %v", p, err)
			break
		}
	}
	all.Wait()
	if err := errors.Join(f.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
}

// A file of Create takes no byte twice: two contents under one stream of keys would show each other.
func TestAFileWrittenOnceIsNotOverwritten(t *testing.T) {
	disk := New(vfs.NewMem(), keysOf(t, newLine()))
	f, err := disk.Create("file", category)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Repeat([]byte("x"), 100_000)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("end"), 100_010); err != nil { // zeros between
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("y"), 7); !errors.Is(err, errTwice) {
		t.Fatal("overwritten:", err)
	}
	again := f.(interface {
		Rewrite(p []byte, offset int64) (int, error)
	})
	if n, err := again.Rewrite(bytes.Repeat([]byte("x"), 70_000), 11); n != 70_000 || err != nil {
		t.Fatal("written anew:", n, err)
	}
	if _, err := again.Rewrite([]byte("more"), 100_012); !errors.Is(err, errTwice) {
		t.Fatal("more than was written:", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want := string(bytes.Repeat([]byte("x"), 100_000)) + string(make([]byte, 10)) + "end"
	mustHold(t, disk, "file", want)
	// Opened for writing it becomes one that may be.
	if f, err = disk.OpenReadWrite("file", category); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	mustHold(t, disk, "file", "y"+want[1:])
}

// What was synced survives a power cut, whatever was written behind and over it later (A3).
func TestASyncOutlastsAPowerCut(t *testing.T) {
	for seed := range uint64(60) {
		dice := rand.New(rand.NewPCG(seed, 3))
		below := vfs.NewCrashableMem()
		keys := keysOf(t, newLine())
		disk := New(below, keys)
		f, err := disk.OpenReadWrite("file", category)
		if err != nil {
			t.Fatal(err)
		}
		synced := bytes.Repeat([]byte("durable "), dice.IntN(1500))
		if _, err := f.WriteAt(synced, 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.SyncData(), syncDir(below, "")); err != nil {
			t.Fatal(err)
		}
		for at := len(synced); at < len(synced)+9000; {
			n, err := f.WriteAt(make([]byte, 1+dice.IntN(3000)), int64(at))
			if at += n; err != nil {
				t.Fatal(err)
			}
		}
		clone := New(below.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: dice.IntN(101), RNG: dice}), keys)
		got, err := read(clone, "file")
		if err != nil || len(got) < len(synced) || got[:len(synced)] != string(synced) {
			t.Fatalf("seed %d: %d bytes of %d are there: %v", seed, len(got), len(synced), err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Keys are turned on, changed and turned off: whatever lies there is read, and what is opened for writing is under the
// first key of the file before a byte is written (A1, A4).
func TestRotation(t *testing.T) {
	below := vfs.NewMem()
	one, two := newLine(), newLine()
	write(t, below, "kept", "plain and old")
	write(t, below, "log", "plain log")
	for i, keys := range []Keys{
		keysOf(t, one), keysOf(t, two, one), keysOf(t, "plain", two, one),
	} {
		disk := New(below, keys)
		mustHold(t, disk, "kept", "plain and old")
		f, err := disk.OpenReadWrite("log", category)
		if err != nil {
			t.Fatal(err)
		}
		h, encrypted, err := disk.header("log")
		if id, active := keys.Active(); err != nil || encrypted != active || h.key != id {
			t.Fatalf("state %d: %v, encrypted %t with %s", i, err, encrypted, h.key)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		mustHold(t, disk, "log", "plain log")
		if err := disk.Renew("kept"); err != nil {
			t.Fatal(err)
		}
		mustHold(t, disk, "kept", "plain and old")
		if raw, _ := read(below, "kept"); bytes.Contains([]byte(raw), []byte("plain and old")) != (i == 2) {
			t.Fatalf("state %d: below: %q", i, raw)
		}
	}
	if names, err := below.List(""); err != nil || len(names) != 2 {
		t.Error("left over:", names, err)
	}
}

// A key that is missing is no damage, and says which file needs which key; a header with a wrong bit is (A4).
func TestMissingKeysAndWrongBits(t *testing.T) {
	below := vfs.NewMem()
	line, id := NewKey()
	disk := New(below, keysOf(t, line))
	write(t, disk, "dir-file", "content")
	raw, err := read(below, "dir-file")
	if err != nil {
		t.Fatal(err)
	}
	other := New(below, keysOf(t, newLine()))
	_, opened := other.Open("dir-file")
	_, openedRW := other.OpenReadWrite("dir-file", category)
	for _, err := range []error{opened, openedRW, other.Renew("dir-file")} {
		var system *fs.PathError
		if !errors.Is(err, ErrKey) || !errors.As(err, &system) || system.Path != "dir-file" ||
			!bytes.Contains([]byte(err.Error()), []byte(id.String())) || errors.Is(err, ErrHeader) {
			t.Errorf("without the key: %v", err)
		}
	}
	for bit := range headerBytes * 8 {
		b := []byte(raw)
		b[bit/8] ^= 1 << (bit % 8)
		write(t, below, "wrong", string(b))
		if _, err := disk.Open("wrong"); !errors.Is(err, ErrHeader) ||
			!bytes.Contains([]byte(err.Error()), []byte("wrong: ")) {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
	if names, _ := disk.List(""); len(names) != 2 {
		t.Error("left over:", names)
	}
	// What a client wrote where a header has its second magic, in a table of which the beginning is not the client's.
	written := []byte(raw)
	copy(written, "\x00\x29\x40IRENC")
	write(t, below, "plain", string(written))
	if got, err := read(disk, "plain"); err != nil || got != string(written) {
		t.Errorf("a plain file is taken for an encrypted one: %v", err)
	}
}

func TestParseKeys(t *testing.T) {
	one, two := newLine(), newLine()
	for text, wrong := range map[string]bool{
		one: false, "# why\n\n" + one + "\r\n" + two + "\n": false, "plain\n" + one: false,
		"": true, "plain": true, one[:63]: true, one + "0": true, one + "\nplain": true, one + "\n" + one: true,
		"not a key": true, one[:62] + "zz": true,
	} {
		_, err := ParseKeys([]byte(text))
		if (err != nil) != wrong {
			t.Errorf("%.20q: %v", text, err)
		}
		if err != nil && bytes.Contains([]byte(err.Error()), []byte(one[:8])) {
			t.Errorf("an error shows a key: %v", err)
		}
	}
}

func FuzzHeader(f *testing.F) {
	h := header{key: KeyID{1}, file: fileID{2}, kind: kindOnce}
	f.Add(h.encode())
	f.Add([]byte(magic))
	f.Add(make([]byte, headerBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, encrypted, err := decodeHeader(b)
		if err == nil && encrypted && !bytes.Equal(h.encode(), b[:headerBytes]) {
			// Places that are not used yet may hold anything.
			if again, ok, err := decodeHeader(h.encode()); !ok || err != nil || again != h {
				t.Fatalf("%x: %v, %v", b, again, err)
			}
		}
	})
}
