package wal

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// newestName is the file that says which segment is the newest, so that one which is gone is missed. A segment is noted
// there before it takes its first record: after a crash the newest segment is the one that is noted or a later one,
// never an earlier one. Directories of former versions do not have it; they get it when they are opened.
const newestName = "newest"

const (
	newestMagic = "MIMIRNEW"
	// newestVersion 1 is the first.
	newestVersion = 1
	newestBytes   = 64
	// The notes of an odd and an even segment lie this far apart: one that a crash tore leaves the other.
	newestSpacing = 4 << 10
)

// logID tells the segments of one log from those of every other. It is zero in segments of former versions.
type logID [16]byte

// newest is what is noted.
type newest struct {
	log    logID
	number uint64 // zero if nothing is noted
}

func (n newest) encode() []byte {
	b := make([]byte, 0, newestBytes)
	b = append(b, newestMagic...)
	b = binary.LittleEndian.AppendUint64(b, newestVersion)
	b = append(b, n.log[:]...)
	b = binary.LittleEndian.AppendUint64(b, n.number)
	b = append(b, make([]byte, newestBytes-4-len(b))...)
	return binary.LittleEndian.AppendUint32(b, checksum.Of(b))
}

// decodeNewest returns what is noted in b; ok is false if that is not whole.
func decodeNewest(b []byte) (n newest, ok bool, err error) {
	sum := binary.LittleEndian.Uint32(b[newestBytes-4:])
	if string(b[:8]) != newestMagic || sum != checksum.Of(b[:newestBytes-4]) {
		return n, false, nil
	}
	if v := binary.LittleEndian.Uint64(b[8:]); v != newestVersion {
		return n, false, fmt.Errorf("%w: version %d, this node knows %d; upgrade it", ErrVersion, v, newestVersion)
	}
	return newest{log: logID(b[16:32]), number: binary.LittleEndian.Uint64(b[32:])}, true, nil
}

// readNewest returns what is noted in the directory.
func (f *folder) readNewest() (newest, error) {
	var found newest
	name := filepath.Join(f.dir, newestName)
	b, err := durable.ReadFile(f.fs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return found, nil
	} else if err != nil {
		return found, fmt.Errorf("wal: read %s: %w", name, err)
	}
	for at := 0; at+newestBytes <= len(b); at += newestSpacing {
		n, ok, err := decodeNewest(b[at : at+newestBytes])
		if err != nil {
			return found, fmt.Errorf("%s: %w", name, err)
		}
		if ok && n.number > found.number {
			found = n
		}
	}
	return found, nil
}

// note makes it durable that a segment is the newest.
func (f *folder) note(number uint64) error {
	name := filepath.Join(f.dir, newestName)
	info, err := f.fs.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := f.fs.OpenReadWrite(name)
	if err != nil {
		return err
	}
	n := newest{log: f.log, number: number}
	fresh := info == nil || info.Size() < 2*newestSpacing
	if fresh { // so that later notes overwrite what the file has
		_, err = file.WriteAt(zeros[:2*newestSpacing], 0)
	}
	if err == nil {
		_, err = file.WriteAt(n.encode(), int64(number%2)*newestSpacing)
	}
	if err == nil {
		err = file.SyncData()
	}
	if err = errors.Join(err, file.Close()); err != nil || !fresh {
		return err
	}
	return f.fs.SyncDir(f.dir)
}

// identify finds out which log this is, from what is noted and what its newest segment says, or makes it one.
func (f *folder) identify(noted newest, inHeader logID) {
	switch {
	case noted.number > 0:
		f.log = noted.log
	case inHeader != logID{}:
		f.log = inHeader
	default:
		rand.Read(f.log[:]) // never fails
	}
}

// IDOf returns which log l is: 32 hexadecimal digits that no other one has. It never changes.
func IDOf(l *Log) string { return hex.EncodeToString(l.folder.log[:]) }

// checkOwn refuses a segment of another log.
func (f *folder) checkOwn(name string, in logID) error {
	if f.log == (logID{}) || in == (logID{}) || in == f.log {
		return nil
	}
	return corruptAt(name, 0, fmt.Errorf(
		"segment of another log, %x; this one is %x: whoever put it there has to take it away", in[:4], f.log[:4]))
}

// checkNewest refuses a directory that lacks the newest segment, which is the one that was noted or a later one.
func (f *folder) checkNewest(numbers []uint64, noted uint64) error {
	left := "no other is left"
	if n := len(numbers); n > 0 {
		if numbers[n-1] >= noted {
			return nil
		}
		left = "the newest that is left is " + filepath.Base(f.segmentName(numbers[n-1]))
	} else if noted == 0 {
		return nil
	}
	return corruptAt(f.segmentName(noted), 0, fmt.Errorf(
		"segment is missing: it was the newest of the log, and %s; what this node acknowledged is lost with it: bring "+
			"the file back, or remove the node and add it anew", left))
}

// settle makes durable what may still be only in the memory of the operating system: the names of the segments, and
// that the newest is noted.
func (f *folder) settle(number uint64, noted newest) error {
	if err := f.fs.SyncDir(f.dir); err != nil {
		return fmt.Errorf("wal: sync %s: %w", f.dir, err)
	}
	if noted.number == number {
		return nil
	}
	if err := f.note(number); err != nil {
		return fmt.Errorf("wal: noting the newest segment in %s: %w", f.dir, err)
	}
	return nil
}
