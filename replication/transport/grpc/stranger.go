package grpctransport

import "time"

// How a connection is heard before one of its streams was admitted: so many frames at once, then so many a second, a
// large one counting as several. A node needs a handful, for the greeting and the headers of its first stream; each one
// of somebody else, a stream that is refused above all, costs the node more than him.
const (
	strangerFrames = 16
	strangerRate   = 10
	strangerFrame  = 1 << 10 // bytes
	// longestSilence bounds how long a connection is not heard at a time.
	longestSilence = time.Second
	// What is read at a time, within strangerFrames and beyond.
	strangerBytes, slowBytes = 1 << 10, 128
)

// stranger counts the frames of a connection that shows nothing.
type stranger struct{ frames int }

// most returns how many bytes are to be read at a time.
func (s *stranger) most() int {
	if s.frames > strangerFrames {
		return slowBytes
	}
	return strangerBytes
}

// hear counts frames, and returns how long nothing more is to be heard.
func (s *stranger) hear(frames int) time.Duration {
	over := min(frames, max(0, s.frames+frames-strangerFrames))
	s.frames += frames
	return min(time.Duration(over)*time.Second/strangerRate, longestSilence)
}
