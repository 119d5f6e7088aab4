package etcdapi

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
)

const (
	// freeMessageBytes is what a message of a JSON stream, a watch or a keep-alive, may have without being counted.
	freeMessageBytes = 4 << 10
	// A message that has more comes within messageTime, and a second more for each messagePace of it.
	messageTime, messagePace = 30 * time.Second, 16 << 10
)

var (
	errLateMessage = errors.New("etcdapi: a JSON message did not come in time")
	errStreamOver  = errors.New("etcdapi: the JSON stream is over")
)

// streamBody is the body of a JSON stream. Its end is a client that only listens from now on; a message in it that
// cannot be read, or does not come in time, ends the call, which would else wait for ever. A large message has room
// beside the bodies of other calls, or waits for that, until the next one is read.
type streamBody struct {
	io.ReadCloser
	fail context.CancelCauseFunc
	room func() (release func(), err error)

	mu      sync.Mutex
	release func() // nil: it has none
	over    bool
}

// take has room for a large message. It is for one goroutine.
func (b *streamBody) take() error {
	if b.has() {
		return nil
	}
	release, err := b.room()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		release()
		return errStreamOver
	}
	b.release = release
	return nil
}

func (b *streamBody) has() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.release != nil
}

// give gives the room back.
func (b *streamBody) give() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.release != nil {
		b.release()
		b.release = nil
	}
}

// end is for when the call is over, though somebody may still read.
func (b *streamBody) end() {
	b.mu.Lock()
	b.over = true
	b.mu.Unlock()
	b.give()
}

// streamDecoder reads the messages of a JSON stream.
type streamDecoder struct {
	body      *streamBody
	marshaler boundedMarshaler
	inner     runtime.Decoder
	ahead     []byte // of the body, to be read before the rest of it

	// Of the message that is read.
	read  int64
	began time.Time   // when it was known to be large
	late  *time.Timer // ends the call; nil: it is not known to be large
}

func newStreamDecoder(body *streamBody, m boundedMarshaler) *streamDecoder {
	d := &streamDecoder{body: body, marshaler: m}
	d.inner = m.Marshaler.NewDecoder(d)
	return d
}

// Decode implements runtime.Decoder.
func (d *streamDecoder) Decode(v any) error {
	d.next()
	err := d.inner.Decode(v)
	if d.late != nil {
		d.late.Stop()
		d.late = nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		d.body.fail(err)
	}
	return err
}

// next forgets the message before. Behind a large one there is a large buffer, which is left to the collector.
func (d *streamDecoder) next() {
	d.read = 0
	buffer, ok := d.inner.(interface{ Buffered() io.Reader })
	if !ok || !d.body.has() {
		return
	}
	rest, _ := io.ReadAll(buffer.Buffered()) // it is in memory
	d.ahead = append(rest, d.ahead...)
	d.inner = d.marshaler.Marshaler.NewDecoder(d)
	if len(d.ahead) <= freeMessageBytes {
		d.body.give()
	}
}

// Read implements io.Reader, for the decoder within.
func (d *streamDecoder) Read(p []byte) (int, error) {
	left := d.marshaler.bytes() - d.read
	switch {
	case left <= 0:
		return 0, errLargeMessage
	case d.read < freeMessageBytes:
		left = freeMessageBytes - d.read
	default:
		if err := d.grows(); err != nil {
			return 0, err
		}
	}
	p = p[:min(int64(len(p)), left)]
	if len(d.ahead) > 0 {
		n := copy(p, d.ahead)
		d.ahead, d.read = d.ahead[n:], d.read+int64(n)
		return n, nil
	}
	n, err := d.body.Read(p)
	d.read += int64(n)
	return n, err
}

// grows is called before more is read of a large message.
func (d *streamDecoder) grows() error {
	if err := d.body.take(); err != nil {
		return err
	}
	within := messageTime + time.Duration(d.read/messagePace)*time.Second
	if d.late == nil {
		d.began = time.Now()
		d.late = time.AfterFunc(within, func() { d.body.fail(errLateMessage) })
		return nil
	}
	d.late.Reset(time.Until(d.began.Add(within)))
	return nil
}
