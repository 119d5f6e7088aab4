package checkpoint

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

func sample() *Manifest {
	return &Manifest{ID: [16]byte{7}, Meta: []byte("meta"), Files: []File{
		{Name: "a", Bytes: 1, Sum: [32]byte{1}},
		{Name: "b/c", Bytes: 2 << 20, Sum: [32]byte{2}},
		{Name: "b/d"},
	}}
}

func TestNamesThatWouldEscapeAreRefused(t *testing.T) {
	for _, name := range []string{
		"", ".", "..", "/", "/etc/passwd", "../a", "a/..", "a/../b", "./a", "a//b", "a/b/c", "a/", `..\a`, "C:a",
		"a\x00b", "a\nb",
		"\xff\xfe", "CHECKPOINT-MANIFEST", "checkpoint-staging", "CHECKPOINT-TEMPORARY/x", string(make([]byte, 300)),
	} {
		m := &Manifest{Files: []File{{Name: name}}}
		if _, err := m.MarshalBinary(); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestManifestsThatContradictThemselvesAreRefused(t *testing.T) {
	for what, files := range map[string][]File{
		"order":              {{Name: "b"}, {Name: "a"}},
		"twice":              {{Name: "a"}, {Name: "a"}},
		"file and directory": {{Name: "a"}, {Name: "a/b"}},
		"negative":           {{Name: "a", Bytes: -1}},
		"overflow":           {{Name: "a", Bytes: 1 << 62}, {Name: "b", Bytes: 1 << 62}},
	} {
		if _, err := (&Manifest{Files: files}).MarshalBinary(); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestEveryFlippedBitOfAManifestIsSeen(t *testing.T) {
	p, err := sample().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(p) * 8 {
		p[bit/8] ^= 1 << (bit % 8)
		if err := new(Manifest).UnmarshalBinary(p); err == nil {
			t.Fatalf("bit %d", bit)
		}
		p[bit/8] ^= 1 << (bit % 8)
	}
	var m Manifest
	if err := m.UnmarshalBinary(p); err != nil || !reflect.DeepEqual(&m, sample()) {
		t.Fatalf("%v, %v", m, err)
	}
}

// sealed returns body with the checksum that fits it.
func sealed(body []byte) []byte {
	p := append([]byte(nil), body...)
	return binary.LittleEndian.AppendUint32(p, checksum.Of(p))
}

func FuzzManifest(f *testing.F) {
	for _, m := range []*Manifest{{}, sample()} {
		p, err := m.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p[:len(p)-crcBytes])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := sealed(body) // a checksum that fits lets the fuzzer reach what is behind it
		var m Manifest
		if m.UnmarshalBinary(p) != nil {
			return
		}
		for _, file := range m.Files {
			if err := checkName(file.Name); err != nil {
				t.Fatal(err)
			}
		}
		if m.Bytes() < 0 {
			t.Fatal("negative size")
		}
		again, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var n Manifest
		if err := n.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(m, n) {
			t.Fatalf("%v, %v, %v", m, n, err)
		}
	})
}

func FuzzMessages(f *testing.F) {
	m := sample()
	f.Add(encodeWants([]want{{0, 1}, {1, 77}}))
	chunkOf := func(file int, offset int64, data string) []byte {
		p := append(make([]byte, chunkHeader), data...)
		sealChunk(p, file, offset)
		return p
	}
	f.Add(chunkOf(0, 0, "x"))
	f.Add(chunkOf(1, 100, "some bytes"))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, p := range [][]byte{p, sealed(p)} {
			if ws, err := decodeWants(p, m); err == nil {
				for _, w := range ws {
					if w.offset < 0 || w.offset > m.Files[w.file].Bytes {
						t.Fatalf("%+v", w)
					}
				}
			}
		}
		if len(p) > chunkHeader {
			copyOf := append([]byte(nil), p...)
			binary.LittleEndian.PutUint32(copyOf[13:], chunkSum(copyOf))
			p = copyOf
		}
		if c, err := decodeChunk(p, m); err == nil {
			if c.offset < 0 || c.offset+int64(len(c.data)) > m.Files[c.file].Bytes {
				t.Fatalf("file %d, offset %d, %d bytes", c.file, c.offset, len(c.data))
			}
		}
	})
}
