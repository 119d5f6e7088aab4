package contract

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzMetadata(f *testing.F) {
	m := Metadata{AppliedIndex: 4, Record: []byte("r")}
	encoded, err := m.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Fuzz(func(t *testing.T, p []byte) {
		var m Metadata
		if err := m.UnmarshalBinary(p); err != nil {
			if !errors.Is(err, ErrMetadata) {
				t.Fatal(err)
			}
			return
		}
		if again, err := m.MarshalBinary(); err != nil || !bytes.Equal(again, p) {
			t.Fatalf("metadata %x is not what it decodes to: %v", p, err)
		}
	})
}
