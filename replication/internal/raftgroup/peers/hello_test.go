package peers

import (
	"bytes"
	"errors"
	"testing"
)

// N3: a hello is taken by the member that it means, and by no other.
func TestHello(t *testing.T) {
	h := Hello{Group: "fleet/eu", From: 3, To: 1}
	if got, err := decodeHello(h.Encode()); err != nil || got != h {
		t.Errorf("hello %v, %v", got, err)
	}
	for _, self := range []struct {
		id    uint64
		group string
		want  error
	}{
		{1, "fleet/eu", nil},
		{2, "fleet/eu", ErrWrongGroup},
		{1, "fleet/us", ErrWrongGroup},
		{3, "fleet/eu", ErrWrongGroup}, // its own
	} {
		if err := h.check(self.group, self.id); !errors.Is(err, self.want) {
			t.Errorf("%d of %s takes %v: %v", self.id, self.group, h, err)
		}
	}
	if err := (Hello{Group: "fleet/eu", To: 1}).check("fleet/eu", 1); !errors.Is(err, ErrWrongGroup) {
		t.Errorf("a hello of nobody: %v", err)
	}
}

func TestDamagedHelloIsRefused(t *testing.T) {
	p := Hello{Group: "fleet/eu", From: 3, To: 1}.Encode()
	for i := range p {
		damaged := bytes.Clone(p)
		damaged[i] ^= 1
		if h, err := decodeHello(damaged); !errors.Is(err, ErrFormat) {
			t.Errorf("byte %d changed: %v, %v", i, h, err)
		}
	}
	if _, err := decodeHello(Seal(append(NewEnvelope(8), "too short"...))); !errors.Is(err, ErrFormat) {
		t.Errorf("a hello of 9 bytes: %v", err)
	}
}
