package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/mimir-kv/mimir/replication/timeline"
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
	// maxWindowBytes is more than how far compress looks back.
	maxWindowBytes = 32 << 20
	// maxReigns and maxMarks bound what a header names.
	maxReigns = 1 << 14
	maxMarks  = headerMarks + 1
)

// leastEntryBytes is what the shortest entry has: a frame of nothing.
var leastEntryBytes = uint32(timeline.FrameBytes(0, 0))

// compress appends what plain comes to.
func compress(dst, plain []byte) ([]byte, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	dst = e.EncodeAll(plain, dst)
	return dst, e.Close()
}

// expander returns a reader of what was compressed to body. It takes little memory whatever body says.
func expander(body []byte) (io.ReadCloser, error) {
	d, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindowBytes))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
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

// Decode returns the segment that text is, and its link. It shares no memory with text. The error is ErrBroken, or
// ErrNewer.
func Decode(text []byte) (*Segment, Link, error) {
	s, sum, err := decode(text)
	if errors.Is(err, ErrNewer) {
		return nil, Link{}, err
	}
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
	if now, known := text[len(magic)-1], magic[len(magic)-1]; now > known {
		return nil, sum, fmt.Errorf("%w: it is of format %q, and this version knows %q", ErrNewer, now, known)
	} else if now != known {
		return nil, sum, fmt.Errorf("it is of format %q", now)
	}
	rest := body[len(magic)+lengthBytes:]
	n := binary.LittleEndian.Uint32(body[len(magic):])
	if n > maxHeaderBytes || int(n) > len(rest) {
		return nil, sum, fmt.Errorf("a header of %d bytes, with %d left", n, len(rest))
	}
	s = &Segment{}
	if err := decodeHeader(rest[:n], &s.Header); err != nil {
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

// unpack returns the entries. Memory is taken only for what was found to be there.
func unpack(body []byte, h *Header) ([][]byte, error) {
	if h.Bytes < 0 || h.Bytes > maxPlainBytes || h.Entries < 0 || h.Entries > h.Bytes/lengthBytes {
		return nil, fmt.Errorf("%d entries in %d bytes", h.Entries, h.Bytes)
	}
	if err := survey(body, h); err != nil {
		return nil, fmt.Errorf("entries: %w", err)
	}
	r, err := expander(body)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	plain := make([]byte, h.Bytes)
	if _, err := io.ReadFull(r, plain); err != nil {
		return nil, fmt.Errorf("entries: %w", err)
	}
	payloads := make([][]byte, 0, h.Entries)
	for len(plain) > 0 {
		n := binary.LittleEndian.Uint32(plain)
		plain = plain[lengthBytes:]
		payloads, plain = append(payloads, plain[:n:n]), plain[n:]
	}
	return payloads, nil
}

// survey goes over the entries and keeps none: they are as many and as long as the header says, and none is shorter
// than an entry can be.
func survey(body []byte, h *Header) error {
	r, err := expander(body)
	if err != nil {
		return err
	}
	defer r.Close()
	in, entries, left := bufio.NewReader(r), 0, h.Bytes
	for ; ; entries++ {
		var length [lengthBytes]byte
		if _, err := io.ReadFull(in, length[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("the length of one: %w", err)
		}
		n := binary.LittleEndian.Uint32(length[:])
		if left -= lengthBytes; int64(n) > int64(left) || n < leastEntryBytes {
			return fmt.Errorf("one of %d bytes, at least %d, with %d left", n, leastEntryBytes, left)
		}
		left -= int(n)
		if _, err := in.Discard(int(n)); err != nil {
			return fmt.Errorf("one of %d bytes: %w", n, err)
		}
	}
	if left != 0 || entries != h.Entries {
		return fmt.Errorf("%d in %d bytes, announced %d in %d", entries, h.Bytes-left, h.Entries, h.Bytes)
	}
	return nil
}
