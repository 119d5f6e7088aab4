package stream

// backlog bounds the bytes that a view has and that were not given out.
type backlog struct {
	started bool
	base    uint64 // View.Bytes when bound was true
	bound   uint64 // bytes that may have been left then
	given   uint64 // bytes given out since
	end     uint64 // index up to which everything was given out once
}

// start sets the first bound: no more than the log holds.
func (b *backlog) start(view View, log Log) {
	*b = backlog{started: true, base: view.Bytes, bound: uint64(max(0, log.Bytes()))}
}

// give notes a chunk read from view.
func (b *backlog) give(view View, c chunk) {
	b.given += uint64(c.bytes)
	if c.end {
		*b = backlog{started: true, base: view.Bytes, end: view.Index}
	}
}

// unsent returns the bound for view. Without a count of bytes in the view it is the size of the log.
func (b *backlog) unsent(view View, log Log) uint64 {
	switch {
	case b.started && view.Index <= b.end:
		return 0
	case !b.started || view.Bytes == 0:
		return uint64(max(0, log.Bytes()))
	}
	if total := b.bound + view.Bytes - min(b.base, view.Bytes); total > b.given {
		return total - b.given
	}
	return 0
}
