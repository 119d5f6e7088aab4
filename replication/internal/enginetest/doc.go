// Package enginetest has the engines by which the rooms that hold a region's state are tested: one that keeps nothing,
// one with a file of its own, and one that gives its state as files. Each remembers every command and every beginning
// of an epoch, checks what the library promises to a storage, and can be made to dwell where it writes a view out.
//
// It is for tests alone, and leaves the public conformance of engines to its neighbours.
package enginetest
