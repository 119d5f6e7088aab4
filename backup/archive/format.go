package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	magic = "MIMALOG1"
	// lengthBytes is how long a length is: that of the header, and that before each entry.
	lengthBytes    = 4
	maxHeaderBytes = 4 << 20
	// maxPlainBytes bounds the entries of a segment: what is gathered before it is closed, and one more.
	maxPlainBytes = 192 << 20
	// maxSegmentBytes is more than any segment is.
	maxSegmentBytes = maxPlainBytes + maxHeaderBytes + 1<<20
)

// compress appends what plain comes to.
func compress(dst, plain []byte) ([]byte, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	dst = e.EncodeAll(plain, dst)
	return dst, e.Close()
}

// expand returns what was compressed to body, at most so many bytes.
func expand(body []byte, most int) ([]byte, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(body, make([]byte, 0, most))
}

// Encode returns a segment as it is kept, and its link. The segment must be one.
func Encode(s *Segment) ([]byte, Link, error) {
	s.Entries, s.Bytes = len(s.Payloads), 0
	for _, p := range s.Payloads {
		s.Bytes += lengthBytes + len(p)
	}
	if err := s.valid(); err != nil {
		return nil, Link{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	header, err := json.Marshal(&s.Header)
	if err != nil {
		return nil, Link{}, err
	}
	plain := make([]byte, 0, s.Bytes)
	for _, p := range s.Payloads {
		plain = append(binary.LittleEndian.AppendUint32(plain, uint32(len(p))), p...)
	}
	text := binary.LittleEndian.AppendUint32([]byte(magic), uint32(len(header)))
	if text, err = compress(append(text, header...), plain); err != nil {
		return nil, Link{}, err
	}
	sum := sha256.Sum256(text)
	text = append(text, sum[:]...)
	return text, linkOf(&s.Header, sum), nil
}

// Decode returns the segment that text is, and its link. It shares no memory with text. The error is ErrBroken.
func Decode(text []byte) (*Segment, Link, error) {
	s, sum, err := decode(text)
	if err != nil {
		return nil, Link{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return s, linkOf(&s.Header, sum), nil
}

func decode(text []byte) (s *Segment, sum [sha256.Size]byte, err error) {
	if !bytes.HasPrefix(text, []byte(magic[:len(magic)-1])) {
		return nil, sum, errors.New("it does not begin as one")
	}
	const least = len(magic) + lengthBytes + sha256.Size
	if len(text) < least {
		return nil, sum, fmt.Errorf("%d bytes", len(text))
	}
	body := text[:len(text)-sha256.Size]
	if sum = sha256.Sum256(body); !bytes.Equal(sum[:], text[len(body):]) {
		return nil, sum, errors.New("its SHA-256 is another than the one at its end: it was cut or changed")
	}
	if text[len(magic)-1] != magic[len(magic)-1] {
		return nil, sum, fmt.Errorf("it is of format %q, and this version knows %q", text[len(magic)-1],
			magic[len(magic)-1])
	}
	rest := body[len(magic)+lengthBytes:]
	n := binary.LittleEndian.Uint32(body[len(magic):])
	if n > maxHeaderBytes || int(n) > len(rest) {
		return nil, sum, fmt.Errorf("a header of %d bytes, with %d left", n, len(rest))
	}
	s = &Segment{}
	if err := json.Unmarshal(rest[:n], &s.Header); err != nil {
		return nil, sum, fmt.Errorf("header: %w", err)
	}
	if err := s.valid(); err != nil {
		return nil, sum, err
	}
	if s.Payloads, err = unpack(rest[n:], &s.Header); err == nil {
		err = s.check()
	}
	return s, sum, err
}

// unpack returns the entries.
func unpack(body []byte, h *Header) ([][]byte, error) {
	if h.Bytes < 0 || h.Bytes > maxPlainBytes || h.Entries < 0 || h.Entries > h.Bytes/lengthBytes {
		return nil, fmt.Errorf("%d entries in %d bytes", h.Entries, h.Bytes)
	}
	plain, err := expand(body, h.Bytes)
	if err != nil {
		return nil, fmt.Errorf("entries: %w", err)
	}
	if len(plain) != h.Bytes {
		return nil, fmt.Errorf("%d bytes of entries, announced %d", len(plain), h.Bytes)
	}
	payloads := make([][]byte, 0, h.Entries)
	for len(plain) > 0 {
		if len(plain) < lengthBytes {
			return nil, errors.New("an entry is cut short")
		}
		n := binary.LittleEndian.Uint32(plain)
		if plain = plain[lengthBytes:]; uint64(n) > uint64(len(plain)) {
			return nil, fmt.Errorf("an entry of %d bytes, with %d left", n, len(plain))
		}
		payloads, plain = append(payloads, plain[:n:n]), plain[n:]
	}
	if len(payloads) != h.Entries {
		return nil, fmt.Errorf("%d entries, announced %d", len(payloads), h.Entries)
	}
	return payloads, nil
}
