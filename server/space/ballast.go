package space

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// ballastName is the file of nothing in the data directory.
	ballastName = "ballast"
	// Steps is of how many steps a ballast is. All but one are given up while the node runs, or when it starts. The
	// last goes in parts: one for each start, so that it lasts for many, and some while the node runs and cannot go on.
	Steps = 2
	// parts is of how many parts a step is, and startParts how many are for starts alone.
	parts, startParts = 8, 4
)

// Ballast is a file that takes room on a disk, Steps times Bytes, to be given up bit by bit. A version before made it
// of one step. It is used by one goroutine at a time.
type Ballast struct {
	Dir   string
	Bytes int64 // of a step
}

func (b *Ballast) path() string { return filepath.Join(b.Dir, ballastName) }

// Part is the least that is given up at once, and what a node has to do with after a start.
func (b *Ballast) Part() int64 { return max(b.Bytes/parts, 1) }

// leastStart is what a start takes at least: the store begins a new list of its files.
const leastStart = 16 << 10

// Start gives up what a node needs that is about to open its files: the step that is not the last, or, if not even a
// part is free, a part of that. If nothing is left to give up, and nothing is free, it says so: a start would fail, and
// leave a little behind each time that somebody tries it again.
func (b *Ballast) Start(free int64, logger *slog.Logger) error {
	has, err := b.size()
	switch {
	case err != nil || free >= b.Bytes:
		return err
	case has > b.Bytes:
		return b.giveUp(b.Bytes, free, logger)
	case has > 0 && free < b.Part():
		return b.giveUp(max(has-b.Part(), 0), free, logger)
	}
	return b.Lacks(free)
}

// Lacks returns why Start would refuse with so much free. It gives nothing up.
func (b *Ballast) Lacks(free int64) error {
	has, err := b.size()
	switch {
	case err != nil || free >= b.Bytes:
		return err
	case has == 0 && free < leastStart:
		return fmt.Errorf("%d bytes are free, the ballast is used up, and a start takes %d at least: %w", free,
			leastStart, syscall.ENOSPC)
	}
	return nil
}

// Settle gives the first step up when less than one is free, and a part of the last if the node lacks room that it
// cannot go on without, but for those of starts. It makes them again as soon as there is room: beside the reserve, or,
// where the alarm is raised and this cannot raise it, where two steps are free.
func (b *Ballast) Settle(free, reserve int64, raised, lacks bool, logger *slog.Logger) error {
	has, err := b.size()
	if err != nil || b.Bytes <= 0 {
		return err
	}
	room := free >= reserve+b.Bytes || (raised || free < reserve) && free >= 2*b.Bytes
	switch {
	case has > b.Bytes && free < b.Bytes:
		return b.giveUp(b.Bytes, free, logger)
	case lacks && has > startParts*b.Part() && free < b.Bytes:
		return b.giveUp(max(has-b.Part(), startParts*b.Part()), free, logger)
	case has < Steps*b.Bytes && room:
		return b.grow(has, (has/b.Bytes+1)*b.Bytes)
	}
	return nil
}

// size returns how much there is.
func (b *Ballast) size() (int64, error) {
	if b.Bytes <= 0 {
		return 0, nil
	}
	info, err := os.Stat(b.path())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return min(info.Size(), Steps*b.Bytes), nil
}

func (b *Ballast) giveUp(left, free int64, logger *slog.Logger) error {
	logger.Warn("the disk is nearly full: some of the ballast is given up", "free", free, "left", left)
	return os.Truncate(b.path(), left)
}

// grow makes the ballast so long. What does not become so long is given back.
func (b *Ballast) grow(before, to int64) error {
	f, err := os.OpenFile(b.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = allocate(f, before, to-before)
	if err != nil {
		err = errors.Join(err, f.Truncate(before))
	}
	return errors.Join(err, f.Close())
}

// writeZeros takes room by writing.
func writeZeros(f *os.File, offset, bytes int64) error {
	zeros := make([]byte, 1<<20)
	for bytes > 0 {
		n, err := f.WriteAt(zeros[:min(bytes, int64(len(zeros)))], offset)
		if err != nil {
			return err
		}
		offset, bytes = offset+int64(n), bytes-int64(n)
	}
	return nil
}
