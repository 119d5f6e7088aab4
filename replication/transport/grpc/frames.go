package grpctransport

import "encoding/binary"

// Frames of HTTP/2 (RFC 9113, sections 4.1 and 6).
const (
	frameHead = 9

	frameData, frameHeaders, frameReset, frameContinuation byte = 0, 1, 3, 9

	flagEndStream byte = 1
)

var prefaceBytes = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// frames follows those of one direction of a connection.
type frames struct {
	skip int // bytes before the first

	header [frameHead]byte
	have   int // bytes of the next header
	left   int // bytes of the body
}

// part is of a frame.
type part int

const (
	partOther  part = iota // of the preface, or some of a header
	partHeader             // the rest of a header, which is known now
	partBody
)

// next goes on by the bytes at the beginning of p that are one part, and returns how many.
func (f *frames) next(p []byte) (n int, what part) {
	switch {
	case f.skip > 0:
		n = min(f.skip, len(p))
		f.skip -= n
		return n, partOther
	case f.left > 0:
		n = min(f.left, len(p))
		f.left -= n
		return n, partBody
	}
	n = copy(f.header[f.have:], p)
	if f.have += n; f.have < frameHead {
		return n, partOther
	}
	f.have, f.left = 0, int(binary.BigEndian.Uint32(append([]byte{0}, f.header[:3]...)))
	return n, partHeader
}

// ended says that the frame is whole to which the part belongs that next returned last.
func (f *frames) ended() bool { return f.left == 0 && f.have == 0 }

func (f *frames) kind() byte     { return f.header[3] }
func (f *frames) ends() bool     { return f.header[4]&flagEndStream != 0 } // of data and headers
func (f *frames) stream() uint32 { return binary.BigEndian.Uint32(f.header[5:]) &^ (1 << 31) }
