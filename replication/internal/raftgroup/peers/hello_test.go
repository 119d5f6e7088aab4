package peers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
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

// N3: whom the transport knows as one says hello as no other.
func TestHelloInTheNameOfAnother(t *testing.T) {
	inBubble(t, func(t *testing.T, net *memory.Network, _, b *node) {
		for known, want := range map[uint64]error{1: nil, 3: transport.ErrStranger, 0: nil} {
			b.config.Caller = func(context.Context) (uint64, bool) { return known, known != 0 }
			s, err := net.Node(fmt.Sprint("caller ", known)).Open(t.Context(), "2", Service)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send(Hello{Group: "test", From: 1, To: 2}.Encode()); err != nil {
				t.Fatal(err)
			}
			if err := s.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err = s.Recv(); !errors.Is(err, want) && !(want == nil && err == io.EOF) {
				t.Errorf("known as %d: %v", known, err)
			}
		}
	})
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
