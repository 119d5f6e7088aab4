package rescue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// tail returns n frames of two commands each, and a next function over them.
func tail(n int) func() ([]byte, error) {
	i := 0
	return func() ([]byte, error) {
		if i == n {
			return nil, io.EOF
		}
		i++
		f := timeline.Frame{
			Epoch: 1, First: timeline.Position(2*i - 1),
			Commands: []timeline.Command{{Data: fmt.Appendf(nil, "a%d", i)}, {Data: []byte("b")}},
		}
		return timeline.AppendFrame(nil, &f), nil
	}
}

var header = Header{Fleet: "f", Region: "us", Node: "us-1", Last: 20}

func TestTailSurvivesPowerLossOnceWritten(t *testing.T) {
	disk := vfs.NewCrashableMem()
	want, err := Write(pebblefs.New(disk), "/data/rescue", "x", header, tail(10))
	if err != nil || want.Commands != 20 || want.Entries != 10 {
		t.Fatalf("%+v, %v", want, err)
	}
	after := disk.CrashClone(vfs.CrashCloneCfg{})
	seen := 0
	got, h, err := Scan(pebblefs.New(after), "/data/rescue", "x", func([]byte) error { seen++; return nil })
	if err != nil || got != want || h != header || seen != 10 {
		t.Fatalf("%+v, %+v, %d entries, %v", got, h, seen, err)
	}
	names, err := List(pebblefs.New(after), "/data/rescue")
	if err != nil || len(names) != 1 || names[0] != "x" {
		t.Fatalf("%v, %v", names, err)
	}
	again, err := Write(pebblefs.New(after), "/data/rescue", "x", header, func() ([]byte, error) {
		return nil, errors.New("read again")
	})
	if err != nil || again != want {
		t.Fatalf("a complete file was not left alone: %+v, %v", again, err)
	}
}

func TestDamageIsNeverAShorterTail(t *testing.T) {
	var b bytes.Buffer
	if _, err := copyEntries(&b, header, tail(3)); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	read := func(p []byte) error {
		d, err := NewDecoder(bytes.NewReader(p))
		for err == nil {
			_, err = d.Next()
		}
		return err
	}
	if err := read(whole); err != io.EOF {
		t.Fatal(err)
	}
	for i := range whole {
		if err := read(whole[:i]); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d of %d: %v", i, len(whole), err)
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x40
		if err := read(flipped); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d of %d changed: %v", i, len(whole), err)
		}
	}
}

func TestNamesStayInTheDirectory(t *testing.T) {
	for _, name := range []string{"../x", "a/b", "missing"} {
		if _, _, err := Scan(pebblefs.New(vfs.NewMem()), "/rescue", name, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecoder(f *testing.F) {
	var b bytes.Buffer
	if _, err := copyEntries(&b, header, tail(2)); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, p []byte) {
		d, err := NewDecoder(bytes.NewReader(p))
		for err == nil {
			_, err = d.Next()
		}
		if err != io.EOF && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}
