package space

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

const (
	// ballastName is the file of nothing in the data directory.
	ballastName = "ballast"
	// Steps is of how many steps a ballast is. All but one are given up while the node runs, and that one when it
	// starts: by then whoever has filled the disk may have taken the others too.
	Steps = 2
)

// Ballast is a file that takes room on a disk, Steps times Bytes, to be given up step by step. A version before made it
// of one step. It is used by one goroutine at a time.
type Ballast struct {
	Dir   string
	Bytes int64 // of a step
}

func (b *Ballast) path() string { return filepath.Join(b.Dir, ballastName) }

// Start gives a step up if less than that is free, for a node that is about to open its files.
func (b *Ballast) Start(free int64, logger *slog.Logger) error {
	steps, err := b.steps()
	if err != nil || steps == 0 || free >= b.Bytes {
		return err
	}
	return b.giveUp(steps-1, free, logger)
}

// Settle gives steps up while less than one is free, but for the last, and makes them again as soon as there is room:
// beside the reserve, or, where the alarm is raised and this cannot raise it, where two steps are free.
func (b *Ballast) Settle(free, reserve int64, raised bool, logger *slog.Logger) error {
	steps, err := b.steps()
	if err != nil || b.Bytes <= 0 {
		return err
	}
	room := free >= reserve+b.Bytes || (raised || free < reserve) && free >= 2*b.Bytes
	switch {
	case steps > 1 && free < b.Bytes:
		return b.giveUp(1, free, logger)
	case steps < Steps && room:
		return b.grow(steps + 1)
	}
	return nil
}

// steps returns how many there are, whole ones.
func (b *Ballast) steps() (int64, error) {
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
	return min(info.Size()/b.Bytes, Steps), nil
}

func (b *Ballast) giveUp(left, free int64, logger *slog.Logger) error {
	logger.Warn("the disk is nearly full: a step of the ballast is given up", "free", free, "step", b.Bytes,
		"left", left)
	return os.Truncate(b.path(), left*b.Bytes)
}

// grow makes the ballast so many steps long. What does not become a whole step is given back.
func (b *Ballast) grow(steps int64) error {
	f, err := os.OpenFile(b.path(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	before := (steps - 1) * b.Bytes
	err = allocate(f, before, b.Bytes)
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
