package atrest

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The tenth vector of IEEE 1619: AES-256, unit 255. Its beginning stands for the rest.
func TestXTSIsTheStandardOne(t *testing.T) {
	key, err := hex.DecodeString("2718281828459045235360287471352662497757247093699959574966967627" +
		"3141592653589793238462643383279502884197169399375105820974944592")
	if err != nil {
		t.Fatal(err)
	}
	x, err := newXTS(key)
	if err != nil {
		t.Fatal(err)
	}
	plain := make([]byte, unitBytes)
	for i := range plain {
		plain[i] = byte(i)
	}
	b := bytes.Clone(plain)
	x.encrypt(b, 255*unitBytes)
	const first = "1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b"
	if got := hex.EncodeToString(b)[:len(first)]; got != first {
		t.Errorf("begins with %s, want %s", got, first)
	}
	// From any block on it is the same.
	for at := 0; at < unitBytes; at += blockBytes {
		c := bytes.Clone(plain[at:])
		x.encrypt(c, 255*unitBytes+int64(at))
		if !bytes.Equal(c, b[at:]) {
			t.Fatalf("from %d on it is other bytes", at)
		}
		x.decrypt(c, 255*unitBytes+int64(at))
		if !bytes.Equal(c, plain[at:]) {
			t.Fatalf("from %d on it does not come back", at)
		}
	}
}
