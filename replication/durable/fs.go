package durable

import (
	"errors"
	"io"
	"io/fs"
)

// FS is a filesystem as far as this library needs one. Names are paths as package path/filepath writes them. It is safe
// for concurrent use. A file or directory that is missing where one is needed is an error that errors.Is finds to be
// fs.ErrNotExist.
//
// A change of a name (of Create, OpenReadWrite, Remove, RemoveAll, Rename, MkdirAll) is seen by everybody at once, but
// survives a power cut only after a SyncDir of the directory that the name is in; before that it may or may not. A
// directory of a name that is synced has to be synced in its own parent too. Content survives as [File] says.
//
// The directories that a process uses are its own: nobody else writes there. Lock keeps others out who ask as well.
type FS interface {
	// Create makes an empty file, in place of one that has the name, for reading and writing.
	Create(name string) (File, error)
	// Open opens a file for reading, mostly from front to back.
	Open(name string) (File, error)
	// OpenReadWrite opens a file with what it holds, or makes an empty one. Reads may come in any order.
	OpenReadWrite(name string) (File, error)

	// Remove removes a file or an empty directory. Whoever has the file open can still use it.
	Remove(name string) error
	// RemoveAll removes a file or a directory with everything in it. That it is missing is no error.
	RemoveAll(name string) error
	// Rename gives a file or directory another name in the same filesystem, at once: a file that has that name is
	// replaced, and at any time, also after a power cut, the new name is the one or the other. A file that is open
	// stays so.
	Rename(from, to string) error
	// MkdirAll makes a directory and those above it that are missing. [MakeDir] does it durably.
	MkdirAll(dir string) error
	// SyncDir returns when the names in dir are as durable as the disk can make them.
	SyncDir(dir string) error

	// Lock makes the file name, if it is missing, and holds it until the closer is closed or the process ends. While it
	// is held every other Lock of it, in any process, fails with ErrLocked. Where the system cannot do that, it always
	// succeeds.
	Lock(name string) (io.Closer, error)

	// List returns the names in a directory, without its path, in any order.
	List(dir string) ([]string, error)
	// Stat tells whether there is something of that name, how large it is, and whether it is a directory.
	Stat(name string) (fs.FileInfo, error)
	// FreeBytes returns how much can still be written where name is. A filesystem that cannot tell returns an error.
	FreeBytes(name string) (uint64, error)
}

// ErrLocked says that somebody else holds a lock.
var ErrLocked = errors.New("durable: in use by another process")

// File is an open file, which belongs to whoever opened it and must be closed once. Reads and writes at an offset may
// be made from several goroutines at once, also beside a sync; Read and Write move one position that all share.
//
// What is written is seen by every reader at once, but survives a power cut only after a sync that began after the
// write returned; before that any part of it may. After an error of a sync nobody knows what is on the disk, and no
// later sync tells: what matters has to be written anew.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Closer

	// Sync makes everything durable that was written, and the file's length and attributes.
	Sync() error
	// SyncData makes everything durable that was written, with as much about the file as is needed to read it: the
	// length if it grew, not the times. Over blocks that the file has already it costs less than Sync: one write to the
	// disk instead of two.
	SyncData() error
}
