package follow

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// pieces is one direction of a stream, as bytes of messages.
type pieces [][]byte

func (p *pieces) SendMsg(m any) error {
	*p = append(*p, m.(*wrapperspb.BytesValue).Value)
	return nil
}

func (p *pieces) RecvMsg(m any) error {
	if len(*p) == 0 {
		return io.EOF
	}
	proto.Merge(m.(*wrapperspb.BytesValue), wrapperspb.Bytes((*p)[0]))
	*p = (*p)[1:]
	return nil
}

func FuzzCommands(f *testing.F) {
	f.Add(AppendCommand(AppendCommand(nil, []byte("a")), bytes.Repeat([]byte("b"), 200)))
	f.Add([]byte{})
	f.Add([]byte{0, 0})
	f.Add([]byte{5, 1})
	f.Add([]byte{0x80})
	f.Fuzz(func(t *testing.T, batch []byte) {
		list, err := Commands(batch)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || list != nil {
				t.Fatalf("%d commands, %v", len(list), err)
			}
			return
		}
		var again []byte
		for _, c := range list {
			if len(c) == 0 || cap(c) != len(c) {
				t.Fatalf("a command of %d bytes, %d with what is behind it", len(c), cap(c))
			}
			again = AppendCommand(again, c)
		}
		if len(again) > len(batch) { // a length may be written longer than it need be
			t.Fatalf("%d bytes are %d commands of %d", len(batch), len(list), len(again))
		}
	})
}

// FuzzReceiveBatch reads a batch in pieces of the length that the first byte says.
func FuzzReceiveBatch(f *testing.F) {
	f.Add(uint8(3), []byte{0, 1, 2, 1, 3, 4}, 100)
	f.Add(uint8(1), []byte{1}, 0)
	f.Add(uint8(2), []byte{0, 7, 0, 7, 0, 7}, 2)
	f.Add(uint8(0), []byte{}, -1)
	f.Fuzz(func(t *testing.T, length uint8, text []byte, most int) {
		var p pieces
		for rest := text; len(rest) > 0; {
			n := min(int(length), len(rest))
			if p = append(p, rest[:n]); n == 0 {
				break
			}
			rest = rest[n:]
		}
		batch, err := receiveBatch(&p, most)
		switch {
		case err == nil && (len(batch) > most || len(batch) > len(text)):
			t.Fatalf("%d bytes of %d, where there may be %d", len(batch), len(text), most)
		case err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, io.EOF):
			t.Fatal(err)
		}
	})
}

func TestABatchArrivesAsItWasSent(t *testing.T) {
	for _, size := range []int{0, 1, pieceBytes, pieceBytes + 1, MaxBatchBytes} {
		var p pieces
		sent := bytes.Repeat([]byte("x"), size)
		if err := sendBatch(&p, sent); err != nil {
			t.Fatal(err)
		}
		if got, err := receiveBatch(&p, MaxBatchBytes); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		if size == 0 {
			continue
		}
		if err := sendBatch(&p, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := receiveBatch(&p, size-1); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes, one too many: %v", size, err)
		}
	}
}

// What holds no command, or more than there may be, costs little more than its bytes.
func TestABatchOfNothingTakesNoMemory(t *testing.T) {
	for what, batch := range map[string][]byte{
		"empty commands": make([]byte, MaxBatchBytes),
		"short commands": bytes.Repeat([]byte{1}, MaxBatchBytes),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Commands(batch)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ErrMalformed) || took > 1<<20 {
			t.Errorf("%s: %d bytes allocated, %v", what, took, err)
		}
	}
	most := bytes.Repeat([]byte{1, 7}, maxBatchCommands)
	if list, err := Commands(most); err != nil || len(list) != maxBatchCommands {
		t.Errorf("as many as there may be: %d, %v", len(list), err)
	}
}
