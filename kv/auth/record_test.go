package auth

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// Records are on disk: these bytes stay.
func TestRecords(t *testing.T) {
	s := newStore(t)
	s.must(userAdd(Root), userGrant(Root, Root), roleAdd("a"), roleGrant("a", write, "k", "\x00"), enable())
	for key, want := range map[string]string{
		"s":     "01010500000000000000" + strings.Repeat("00", 32) + "34765982",
		"uroot": "010a04726f6f7412066120686173681a04726f6f742200" + "212e7855",
		"ra":    "010a0161120808011201" + "6b1a0100" + "2727cefd",
	} {
		if got := hex.EncodeToString(s.disk[key]); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	again := s.disk.load(t)
	if !bytes.Equal(again.Append(nil), s.Append(nil)) || !bytes.Equal(again.tokenKey, s.tokenKey) {
		t.Error("what was loaded is another state")
	}
	if len(New().Append(nil)) != 0 {
		t.Error("an unused state has records")
	}
}

// What was not written is refused, whichever byte of a record is another one.
func TestDamagedRecords(t *testing.T) {
	s := rooted(t)
	s.must(roleGrant("a", read, "k", "l"), enable())
	for key, record := range s.disk {
		for i := range record {
			damaged := bytes.Clone(record)
			damaged[i] ^= 1
			if err := NewLoad().Add(key[0], key[1:], damaged); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q with another byte %d: %v", key, i, err)
			}
			if err := NewLoad().Add(key[0], key[1:], record[:i]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q cut at %d: %v", key, i, err)
			}
		}
		if err := NewLoad().Add(key[0], key[1:]+"x", record); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q under another name: %v", key, err)
		}
	}
	if err := NewLoad().Add('x', "", s.disk["s"]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("of no kind: %v", err)
	}
}

// A record that can be read is one that can be written, and read again.
func FuzzRecord(f *testing.F) {
	s := rooted(f)
	s.must(roleGrant("a", read, "k", "l"), enable())
	for key, record := range s.disk {
		f.Add(key, record[1:len(record)-4])
	}
	f.Fuzz(func(t *testing.T, key string, text []byte) {
		if key == "" {
			return
		}
		record := seal(append([]byte{recordVersion}, text...))
		l := NewLoad()
		if err := l.Add(key[0], key[1:], record); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		for _, u := range l.State().users {
			if again := NewLoad(); again.Add(kindUser, key[1:], encodeRecord(u.User)) != nil ||
				!proto.Equal(again.State().users[key[1:]].User, u.User) {
				t.Fatalf("user %v", u.User)
			}
		}
		for _, r := range l.State().roles {
			if again := NewLoad(); again.Add(kindRole, key[1:], encodeRecord(r)) != nil ||
				!proto.Equal(again.State().roles[key[1:]], r) {
				t.Fatalf("role %v", r)
			}
		}
	})
}
