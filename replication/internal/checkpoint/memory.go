package checkpoint

import "hash"

// Memory is what this process knows of the directory into which it receives, from one attempt to the next: what it has
// read or written once it need not read again. One Receive at a time uses it, all of them of one directory in which
// nobody else writes, whatever that is called. The zero value knows nothing, which is always true.
type Memory struct {
	whole map[string]File // by name: seen to be so, and durable
	part  *part           // of the file that was on its way when the last attempt broke off
}

// part is the beginning of a file, as it was written.
type part struct {
	file  File
	bytes int64
	hash  hash.Hash // of it
}

// knows reports whether f, which has its size, was seen to be whole.
func (m *Memory) knows(f *File) bool {
	known, ok := m.whole[f.Name]
	return ok && known == *f
}

// note notes that f is whole.
func (m *Memory) note(f *File) {
	if m.whole == nil {
		m.whole = make(map[string]File)
	}
	m.whole[f.Name] = *f
}

// begun returns the hash of the first bytes of f, nil if that has to be made of what is on the disk. What was known of
// the file is forgotten: it is about to be written.
func (m *Memory) begun(f *File, bytes int64) (h hash.Hash) {
	if p := m.part; p != nil && p.file == *f && p.bytes == bytes {
		h = p.hash
	}
	m.part = nil
	delete(m.whole, f.Name)
	return h
}

// forget forgets everything: the directory was removed.
func (m *Memory) forget() { *m = Memory{} }
