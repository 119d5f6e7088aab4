package feed

import (
	"errors"
	"math"
	"testing"
)

// Tokens are what they were: programs have kept them.
func TestTokensStay(t *testing.T) {
	key, end := Prefix("a/")
	for want, p := range map[Token]place{
		"1.0.00000000.0.0.03c41728":    {},
		"1.2a.f4bcdea9.100.7.73b0e5d1": {Cluster: 42, Keys: keysOf(key, end), Revision: 100, Given: 7},
		"1.ffffffffffffffff.00000001.9223372036854775807.9223372036854775807.0e348adc": {Cluster: math.MaxUint64,
			Keys: 1, Revision: math.MaxInt64, Given: math.MaxInt64},
		"2.2a.f4bcdea9.100.7.00000abc.1f.94b1b8fe": {Cluster: 42, Keys: keysOf(key, end), Revision: 100, Given: 7,
			Print: 0xabc, Member: 31},
		"2.2a.f4bcdea9.100.100.00000000.1f.eeb097d4": {Cluster: 42, Keys: keysOf(key, end), Revision: 100, Given: 100,
			Member: 31},
	} {
		if got := p.token(); got != want {
			t.Errorf("%+v: %s, want %s", p, got, want)
		}
		if back, err := placeOf(want); err != nil || back != p {
			t.Errorf("%s: %+v, %v", want, back, err)
		}
	}
}

// A token that was cut or changed anywhere is none: what it said may have been a later place.
func TestAChangedTokenIsRefused(t *testing.T) {
	for _, p := range []place{{Cluster: 42, Keys: 7, Revision: 12345, Given: 1234},
		{Cluster: 42, Keys: 7, Revision: 12345, Given: 1234, Print: 99, Member: 5}} {
		token := p.token()
		refused := func(text Token) {
			t.Helper()
			if p, err := placeOf(text); !errors.Is(err, ErrToken) {
				t.Errorf("%q: %+v, %v", text, p, err)
			}
		}
		for i := range len(token) {
			for _, text := range []Token{token[:i], token[i+1:], token[:i] + token[i+1:]} {
				refused(text)
			}
			for c := byte(' '); c < 0x7f; c++ {
				text := []byte(token)
				if text[i] != c {
					text[i] = c
					refused(Token(text))
				}
			}
		}
	}
}

// Keys that are not the same are told apart, also where they are the same bytes together.
func TestKeysAreToldApart(t *testing.T) {
	seen := map[uint32]string{}
	for _, keys := range [][2]string{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"\x00", "\x00"}, {"a", ""}, {"b", ""}} {
		n, name := keysOf([]byte(keys[0]), []byte(keys[1])), keys[0]+","+keys[1]
		if other, is := seen[n]; is {
			t.Errorf("%q and %q are %x", name, other, n)
		}
		seen[n] = name
	}
}

func FuzzToken(f *testing.F) {
	f.Add("1.2a.f4bcdea9.100.7.73b0e5d1")
	f.Add("2.2a.f4bcdea9.100.7.73b0e5d1")
	f.Add("1.2A.f4bcdea9.+100.-7.73b0e5d1")
	f.Add("1......")
	f.Add("2.2a.f4bcdea9.100.7.00000000.0.73b0e5d1")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := placeOf(Token(text))
		switch {
		case err != nil && (!errors.Is(err, ErrToken) || p != place{}):
			t.Fatalf("%q: %+v, %v", text, p, err)
		case err == nil && (p.token() != Token(text) || p.Given > p.Revision || p.Given < 0):
			t.Fatalf("%q is %+v, which is %q", text, p, p.token())
		}
	})
}
