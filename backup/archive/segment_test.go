package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// story is a history that a test writes, entry by entry.
type story struct {
	timeline.Origin
	payloads [][]byte
	ends     []timeline.Origin // behind each of them
	folder   *timeline.Folder
}

func newStory() *story { return &story{folder: timeline.NewFolder()} }

func (s *story) add(p []byte) {
	s.payloads, s.ends = append(s.payloads, p), append(s.ends, s.Origin)
}

func (s *story) reign(epoch timeline.Epoch, primary string, lossy bool) *story {
	r := timeline.Reign{Epoch: epoch, First: s.Cursor.Position + 1, Primary: primary, Previous: s.Cursor.Chain,
		Lossy: lossy}
	s.Reigns = append(s.Reigns[:len(s.Reigns):len(s.Reigns)], r)
	s.Cursor.Epoch, s.Cursor.Chain = epoch, s.folder.Reign(s.Cursor.Chain, r)
	s.add(timeline.AppendReign(nil, r))
	return s
}

func (s *story) frame(commands ...string) *story {
	f := timeline.Frame{Epoch: s.Cursor.Epoch, First: s.Cursor.Position + 1, Previous: s.Cursor.Chain}
	for _, c := range commands {
		f.Commands = append(f.Commands, timeline.Command{Data: []byte(c)})
	}
	s.Cursor.Chain, s.Cursor.Position = s.folder.Frame(&f), f.Last()
	s.add(timeline.AppendFrame(nil, &f))
	return s
}

// at returns the place behind the first n entries.
func (s *story) at(n int) timeline.Origin {
	if n == 0 {
		return timeline.Origin{}
	}
	return s.ends[n-1]
}

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// segment returns the entries from the one with the number from on, up to the one before to.
func (s *story) segment(from, to int, marks ...Mark) *Segment {
	h := Header{Fleet: "f", Region: "us", Node: "us-1", From: s.at(from).Cursor, To: s.at(to), Marks: marks}
	if len(marks) == 0 {
		h.Marks = []Mark{{Time: noon.Add(time.Duration(to) * time.Second), Position: h.To.Cursor.Position}}
	}
	return &Segment{Header: h, Payloads: s.payloads[from:to]}
}

func encoded(t testing.TB, s *Segment) []byte {
	t.Helper()
	text, l, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := ParseName(l.Name()); !ok || got != l {
		t.Fatalf("%s: %+v, %v", l.Name(), got, ok)
	}
	return text
}

func twoReigns() *story {
	return newStory().reign(1, "us", false).frame("a", "b").frame("c").reign(3, "eu", true).frame("d")
}

func TestSegment(t *testing.T) {
	s := twoReigns()
	for from := range s.payloads {
		for to := from + 1; to <= len(s.payloads); to++ {
			text := encoded(t, s.segment(from, to))
			got, l, err := Decode(text)
			if err != nil {
				t.Fatal(err)
			}
			if l.From != PlaceOf(s.at(from).Cursor) || l.To != PlaceOf(s.at(to).Cursor) ||
				!bytes.Equal(bytes.Join(got.Payloads, nil), bytes.Join(s.payloads[from:to], nil)) {
				t.Errorf("%d to %d: %+v", from, to, got)
			}
			if again := encoded(t, got); !bytes.Equal(again, text) {
				t.Errorf("%d to %d: not the same again", from, to)
			}
		}
	}
}

// resealed returns text with the digest that belongs to what is before it.
func resealed(text []byte) []byte {
	body := text[:len(text)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

// TestBrokenSegments: whatever is not a segment as it was made is refused, also where its digest is right.
func TestBrokenSegments(t *testing.T) {
	s := twoReigns()
	whole := encoded(t, s.segment(1, 5))
	refused := func(what string, text []byte) {
		t.Helper()
		if got, _, err := Decode(text); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for at := range whole {
		refused("cut", whole[:at])
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		refused("changed", damaged)
	}
	refused("too long", append(bytes.Clone(whole), 0))
	newer := bytes.Clone(whole)
	newer[len(magic)-1]++
	if got, _, err := Decode(resealed(newer)); !errors.Is(err, ErrNewer) || errors.Is(err, ErrBroken) {
		t.Errorf("of a later format: %+v, %v", got, err)
	}
	newer[len(magic)-1] -= 2
	refused("of an earlier format than there is", resealed(newer))

	lie := func(what string, change func(*Segment)) {
		t.Helper()
		forged := s.segment(1, 5)
		change(forged)
		if err := forged.valid(); err != nil {
			refused(what, forgedText(t, forged))
			return
		}
		text, _, err := Encode(forged)
		if err != nil {
			t.Fatal(err)
		}
		refused(what, text)
	}
	lie("an entry is missing", func(s *Segment) { s.Payloads = append(s.Payloads[:1:1], s.Payloads[2:]...) })
	lie("the last entry is missing", func(s *Segment) { s.Payloads = s.Payloads[:3] })
	lie("an entry is there twice", func(s *Segment) { s.Payloads = append(s.Payloads[:1:1], s.Payloads...) })
	lie("another order", func(f *Segment) { f.Payloads = [][]byte{s.payloads[2], s.payloads[1]} })
	lie("another beginning", func(s *Segment) { s.From.Chain[0] ^= 1 })
	lie("another end", func(s *Segment) { s.To.Cursor.Chain[0] ^= 1 })
	lie("another reign", func(s *Segment) { s.To.Reigns = twoReigns().reign(4, "us", false).Reigns })
	lie("a reign less", func(s *Segment) { s.To.Reigns = s.To.Reigns[1:] })
	lie("no reign", func(s *Segment) { s.To.Reigns = nil })
	lie("reigns out of order", func(s *Segment) {
		s.To.Reigns = append(s.To.Reigns[1:2:2], s.To.Reigns[0], s.To.Reigns[1])
	})
	lie("no mark", func(s *Segment) { s.Marks = nil })
	lie("no mark at the end", func(s *Segment) { s.Marks[0].Position-- })
	lie("a mark beyond the end", func(s *Segment) { s.Marks[0].Position++ })
	lie("a mark before the beginning", func(s *Segment) {
		s.Marks, s.From.Position = append([]Mark{{}}, s.Marks...), 1
	})
	lie("too many marks", func(s *Segment) {
		s.Marks = slices.Repeat(s.Marks, maxMarks+1)
	})
	lie("an entry of something else", func(s *Segment) { s.Payloads = append(s.Payloads, []byte("something")) })
}

// forgedText is Encode without a look at the header.
func forgedText(t *testing.T, s *Segment) []byte {
	t.Helper()
	h, err := json.Marshal(&s.Header)
	if err != nil {
		t.Fatal(err)
	}
	text := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(h)))
	plain := make([]byte, 0, lengthBytes*len(s.Payloads))
	for _, p := range s.Payloads {
		plain = append(binary.LittleEndian.AppendUint32(plain, uint32(len(p))), p...)
	}
	if text, err = compress(append(text, h...), plain); err != nil {
		t.Fatal(err)
	}
	return resealed(append(text, make([]byte, sha256.Size)...))
}

// TestASmallObjectTakesLittleMemory: what a few bytes claim to hold is not made room for.
func TestASmallObjectTakesLittleMemory(t *testing.T) {
	s := twoReigns().segment(1, 5)
	empty := *s
	empty.Payloads, empty.Entries, empty.Bytes = make([][]byte, 4e6), 4e6, 4e6*lengthBytes
	claims := *s
	claims.Payloads, claims.Entries, claims.Bytes = nil, maxPlainBytes/60, maxPlainBytes
	texts := map[string][]byte{"empty entries": forgedText(t, &empty), "claims": forgedText(t, &claims)}
	empty.Payloads = nil
	for what, head := range map[string]string{
		"reigns": `{"to":{"Reigns":[`, "reigns behind a header that is wrong": `{"to":3,"marks":7,"to":{"Reigns":[`,
		"reigns by another name": `{"TO":{"rEIGNS":[`, "marks": `{"marks":[`,
	} {
		header := []byte(head + strings.Repeat("0,", (maxHeaderBytes-100)/2))
		text := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(header)+4))
		texts[what] = resealed(append(append(text, append(header, "0]}}"...)...), make([]byte, sha256.Size)...))
		header = bytes.ReplaceAll(header, []byte("0,"), []byte("{},"))[:maxHeaderBytes-100]
		header = append(header[:bytes.LastIndexByte(header, ',')], "]}}"...)
		text = binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(header)))
		texts[what+", empty"] = resealed(append(append(text, header...), make([]byte, sha256.Size)...))
	}
	for what, text := range texts {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := Decode(text)
		if runtime.ReadMemStats(&after); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", what, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("%s: %d bytes were taken for an object of %d", what, took, len(text))
		}
	}
}

// FuzzDecode: bytes with a right digest that nobody archived are refused, or are a segment that says what it holds.
func FuzzDecode(f *testing.F) {
	s := twoReigns()
	f.Add(encoded(f, s.segment(0, 5)))
	f.Add(encoded(f, s.segment(2, 3)))
	f.Add([]byte(magic + "\x02\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, text := range [][]byte{text, resealed(append(bytes.Clone(text), make([]byte, sha256.Size)...))} {
			got, l, err := Decode(text)
			if err != nil {
				if !errors.Is(err, ErrBroken) {
					t.Fatal(err)
				}
				continue
			}
			if err := got.check(); err != nil || l.From != PlaceOf(got.From) || l.To != PlaceOf(got.To.Cursor) {
				t.Fatalf("%+v: %v", l, err)
			}
		}
	})
}

// FuzzName: a text is the name of one link, or of none.
func FuzzName(f *testing.F) {
	_, l, _ := Encode(twoReigns().segment(0, 5))
	f.Add(l.Name())
	f.Add(Prefix + suffix)
	f.Fuzz(func(t *testing.T, name string) {
		if l, ok := ParseName(name); ok && l.Name() != name {
			t.Fatalf("%q is %+v, which is %q", name, l, l.Name())
		}
	})
}
