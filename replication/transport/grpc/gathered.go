package grpctransport

// gathered is a connection of which more is read at a time than is asked for, as bufio does, but little before it is
// known to be a node's: who shows nothing has no large buffer. Read is for one goroutine.
type gathered struct {
	*meter

	buffer       []byte
	begin, until int // of what was read, in buffer
}

// Read implements net.Conn.
func (g *gathered) Read(p []byte) (int, error) {
	if g.begin == g.until {
		g.grow()
		if len(p) >= len(g.buffer) {
			return g.meter.Read(p)
		}
		n, err := g.meter.Read(g.buffer)
		if g.begin, g.until = 0, n; n == 0 {
			return 0, err
		} // else the next one meets the error too
	}
	n := copy(p, g.buffer[g.begin:g.until])
	g.begin += n
	return n, nil
}

// grow makes the buffer, which is empty, as large as it may be now.
func (g *gathered) grow() {
	size := strangerBytes
	if g.known.Load() {
		size = bufferBytes
	}
	if len(g.buffer) < size {
		g.buffer = make([]byte, size)
	}
}
