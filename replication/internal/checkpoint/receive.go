package checkpoint

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Stage is what is being done of a transfer.
type Stage int

// Stages of a transfer, as the receiver sees them.
const (
	// Coming says that files are on their way.
	Coming Stage = iota
	// Preparing says that the sender goes through what it is about to offer: DoneBytes of a total that is not known.
	Preparing
	// Checking says that the receiver goes through what an earlier attempt had left: DoneBytes of it so far.
	Checking
)

// Progress tells how far a transfer is. DoneBytes of what is Coming includes what an earlier attempt had left.
type Progress struct {
	Stage                 Stage
	DoneBytes, TotalBytes int64
}

// Receive takes a checkpoint that the peer sends with Send into dir, which belongs to it alone. What dir holds of the
// same checkpoint is kept, and of another one what this one has as well, in the same file; anything else is removed. On
// return without an error every file is verified and durable, and Load finds the manifest. On an error nothing is lost
// that a further attempt could use; a file whose content is wrong is ErrCorrupt and has been removed. Where the disk
// was filled meanwhile, everything has: others need the room more, and the next attempt does not begin without enough
// of it.
//
// What memory knows of dir is not read again; it may be nil. progress may be nil; it is called from this goroutine,
// after each chunk, and while either side works otherwise. It ends with ctx, but for what this side's disk takes for
// one step, and with ErrSilent if the sender hangs.
func Receive(
	ctx context.Context, l Line, fs durable.FS, dir string, memory *Memory, progress func(Progress),
) (*Manifest, error) {
	return ReceiveOn(ctx, l, fs, dir, memory, Terms{}, progress)
}

// ReceiveOn is Receive on terms. Where an offer does not fit them dir is as it was; what is not what was written is
// ErrCorrupt, and has been removed.
func ReceiveOn(
	ctx context.Context, l Line, fs durable.FS, dir string, memory *Memory, terms Terms, progress func(Progress),
) (*Manifest, error) {
	if memory == nil {
		memory = new(Memory)
	}
	r := &receiver{
		ctx: ctx, line: &l, fs: fs, dir: dir, memory: memory, terms: terms, progress: progress,
		buf: make([]byte, readBytes), worker: l.worker(ctx),
	}
	if err := r.run(); err != nil {
		if durable.Full(err) {
			memory.forget()
			err = errors.Join(err, fs.RemoveAll(dir))
		}
		if r.lineErr == nil && ctx.Err() == nil {
			// The reason is for the sender's log; if it does not arrive, the end of the stream will. But that his files
			// may not be what they were he has to know.
			_ = l.send(ctx, append([]byte{kindFailed}, err.Error()[:min(len(err.Error()), maxReason)]...))
			if errors.Is(err, ErrCorrupt) {
				l.linger(ctx)
			}
		}
		return nil, fmt.Errorf("checkpoint: receive from %s: %w", l.Stream.Peer(), err)
	}
	// Everything is here already: that the sender may not learn it is no error of the receiver.
	_ = l.send(ctx, []byte{kindDone})
	return r.manifest, nil
}

type receiver struct {
	ctx      context.Context
	line     *Line
	lineErr  error
	fs       durable.FS
	dir      string
	memory   *Memory
	terms    Terms
	progress func(Progress)
	buf      []byte
	worker   *worker
	manifest *Manifest
	done     int64 // bytes that need not be received any more
}

func (r *receiver) run() error {
	p, err := r.recv(r.line.patience()) // it may have to be made first
	if err != nil {
		return err
	}
	if len(p) == 0 || p[0] != kindManifest {
		return fmt.Errorf("%w: the first message is no manifest", ErrFormat)
	}
	r.manifest = new(Manifest)
	if err := r.manifest.UnmarshalBinary(p[1:]); err != nil {
		return err
	}
	if fits := r.terms.Fits; fits != nil {
		if err := fits(r.manifest); err != nil {
			return err
		}
	}
	complete, err := r.prepare(p[1:])
	if err != nil {
		return err
	}
	wants, err := r.missing(complete)
	if err != nil {
		return err
	}
	if complete {
		if len(wants) == 0 {
			if err := r.passesWhole(); err != nil {
				return err
			}
			return r.fs.SyncDir(r.dir) // the attempt that wrote the manifest may have failed there
		}
		if err := r.rename(manifestName, stagingName); err != nil { // it is not complete any more
			return err
		}
	}
	if err := r.checkSpace(); err != nil {
		return err
	}
	for len(wants) > 0 {
		if wants, err = r.fetch(wants); err != nil {
			return err
		}
	}
	if err := r.passesWhole(); err != nil {
		return err
	}
	return r.install()
}

func (r *receiver) recv(silence time.Duration) (p []byte, err error) {
	p, r.lineErr = r.line.recv(r.ctx, silence, func(bytes int64) {
		r.report(Progress{Stage: Preparing, DoneBytes: bytes})
	})
	return p, r.lineErr
}

func (r *receiver) report(p Progress) {
	if r.progress != nil {
		r.progress(p)
	}
}

// through notes that so many bytes of what is here were read. It fails once ctx has ended, or nobody waits any more.
func (r *receiver) through(bytes int64) error {
	err := r.worker.through(bytes)
	if err != nil {
		r.lineErr = err
		return err
	}
	r.report(Progress{Stage: Checking, DoneBytes: r.worker.bytes, TotalBytes: r.manifest.Bytes()})
	return nil
}

// prepare makes dir hold nothing but what belongs to the offered manifest, and notes durably what is being received. It
// reports whether an earlier attempt had finished.
func (r *receiver) prepare(offer []byte) (complete bool, err error) {
	var other *Manifest // of which dir holds something; nil: nobody knows what it holds
	for _, name := range []string{manifestName, stagingName} {
		m, err := readManifest(r.fs, r.dir, name)
		if err != nil {
			continue // whatever it is, it is not this checkpoint
		}
		if p, err := m.MarshalBinary(); err == nil && bytes.Equal(p, offer) {
			return name == manifestName, r.removeStrangers(r.manifest)
		}
		other = cmp.Or(other, m)
	}
	if other != nil {
		return false, r.takeOver(other)
	}
	r.memory.forget()
	if err := r.fs.RemoveAll(r.dir); err != nil {
		return false, err
	}
	if err := r.fs.MkdirAll(r.dir); err != nil {
		return false, err
	}
	if err := r.fs.SyncDir(filepath.Dir(r.dir)); err != nil {
		return false, err
	}
	return false, writeManifest(r.fs, r.dir, stagingName, r.manifest)
}

// takeOver goes on with what dir holds of another checkpoint. It is that one's until its manifest is replaced, by which
// time nothing is left but what both have: whenever this breaks off, the next attempt finds a manifest that is true.
func (r *receiver) takeOver(other *Manifest) error {
	if _, err := r.fs.Stat(path(r.dir, manifestName)); err == nil { // it is not complete any more
		if err := r.rename(manifestName, stagingName); err != nil {
			return err
		}
	}
	if err := r.removeStrangers(common(r.manifest, other)); err != nil {
		return err
	}
	return writeManifest(r.fs, r.dir, stagingName, r.manifest)
}

// common returns a manifest of the files that two have alike.
func common(a, b *Manifest) *Manifest {
	files := make(map[File]bool, len(b.Files))
	for _, f := range b.Files {
		files[f] = true
	}
	both := new(Manifest)
	for _, f := range a.Files {
		if files[f] {
			both.Files = append(both.Files, f)
		}
	}
	return both
}

// removeStrangers removes files that are not in a manifest.
func (r *receiver) removeStrangers(m *Manifest) error {
	names, err := list(r.fs, r.dir)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(m.Files))
	for i := range m.Files {
		known[m.Files[i].Name] = true
	}
	for _, name := range names {
		if !known[name] {
			if err := r.fs.RemoveAll(path(r.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// missing looks at what is there and returns what has to be fetched. What this process does not know of it is read,
// which is long, and heard by both sides; and, but of a complete checkpoint, of which every file was durable, written
// over itself: if the sync of an earlier attempt failed, the system has forgotten that it has to be written, and
// another sync would do nothing.
func (r *receiver) missing(complete bool) ([]want, error) {
	var wants []want
	for i := range r.manifest.Files {
		f := &r.manifest.Files[i]
		name := path(r.dir, f.Name)
		info, err := r.fs.Stat(name)
		switch {
		case errors.Is(err, os.ErrNotExist):
			wants = append(wants, want{file: i})
			continue
		case err != nil:
			return nil, err
		case info.Size() < f.Bytes:
			wants = append(wants, want{file: i, offset: info.Size()})
			r.done += info.Size()
			continue
		case info.Size() > f.Bytes:
			wants = append(wants, want{file: i})
			continue
		case r.memory.knows(f):
			r.done += f.Bytes
			continue
		}
		got, err := r.sum(f, complete)
		if err != nil {
			return nil, err
		}
		if got != f.Sum {
			wants = append(wants, want{file: i})
			continue
		}
		if err := r.passes(f); err != nil {
			return nil, err
		}
		r.done += f.Bytes
	}
	return wants, nil
}

// sum sums a file that has the size of f, and makes it durable unless it is.
func (r *receiver) sum(f *File, isDurable bool) (got [sha256.Size]byte, err error) {
	name := path(r.dir, f.Name)
	if isDurable {
		_, got, err = sum(r.fs, name, r.buf, r.through)
		return got, err
	}
	file, err := r.fs.OpenReadWrite(name)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	h := sha256.New()
	if _, err := hashInto(h, &anew{file: file, end: f.Bytes}, r.buf, r.through); err != nil {
		return got, err
	}
	return [sha256.Size]byte(h.Sum(nil)), file.Sync()
}

// anew reads the beginning of a file, and writes what it reads over itself.
type anew struct {
	file    durable.File
	at, end int64
}

// Read implements io.Reader.
func (a *anew) Read(p []byte) (n int, err error) {
	if a.at == a.end {
		return 0, io.EOF
	}
	n, err = a.file.ReadAt(p[:min(int64(len(p)), a.end-a.at)], a.at)
	if n > 0 {
		if _, err := a.file.WriteAt(p[:n], a.at); err != nil {
			return 0, err
		}
	}
	a.at += int64(n)
	return n, err
}

func (r *receiver) checkSpace() error {
	free, err := r.fs.FreeBytes(r.dir)
	if err != nil {
		return nil // a filesystem that cannot tell; a full disk will show on writing
	}
	if need := r.manifest.Bytes() - r.done; need > 0 && uint64(need) > free {
		return fmt.Errorf("%w: %d bytes to receive, %d free at %s", ErrNoSpace, need, free, r.dir)
	}
	return nil
}

// fetch asks for wants and takes them, and returns those which turned out wrong although only a part of them was
// fetched: then it was the part from before that a crash had damaged.
func (r *receiver) fetch(wants []want) (again []want, err error) {
	r.lineErr = r.line.send(r.ctx, encodeWants(wants))
	if r.lineErr != nil {
		return nil, r.lineErr
	}
	for _, w := range wants {
		f := &r.manifest.Files[w.file]
		name := path(r.dir, f.Name)
		if strings.Contains(f.Name, "/") {
			if err := r.makeParent(name); err != nil {
				return nil, err
			}
		}
		got, err := r.take(w, f, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if got == f.Sum {
			if err := r.passes(f); err != nil {
				return nil, err
			}
			continue
		}
		if err := r.fs.Remove(name); err != nil {
			return nil, err
		}
		r.done -= f.Bytes
		if w.offset == 0 {
			return nil, fmt.Errorf("%w: %s has sum %x, want %x", ErrCorrupt, f.Name, got[:8], f.Sum[:8])
		}
		again = append(again, want{file: w.file})
	}
	return again, nil
}

func (r *receiver) makeParent(name string) error {
	parent := filepath.Dir(name)
	if _, err := r.fs.Stat(parent); err == nil {
		return nil
	}
	return r.fs.MkdirAll(parent)
}

// take receives the rest of one file, makes it durable, and returns the sum of the whole.
func (r *receiver) take(w want, file *File, name string) (got [sha256.Size]byte, err error) {
	h := r.memory.begun(file, w.offset)
	if w.offset == 0 { // what is there, if anything, is wrong
		if err := r.fs.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return got, err
		}
	}
	f, err := r.fs.OpenReadWrite(name)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if h == nil {
		h = sha256.New()
		if w.offset > 0 {
			_, err = hashInto(h, &anew{file: f, end: w.offset}, r.buf, r.through)
		}
		if err != nil {
			return got, err
		}
	}
	if err := r.chunks(f, h, w, file); err != nil {
		return got, err
	}
	if err := f.Sync(); err != nil {
		return got, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// chunks writes what comes of a file, and folds it into h. Where it breaks off between two of them, memory knows how
// far it came.
func (r *receiver) chunks(f durable.File, h hash.Hash, w want, file *File) error {
	for offset := w.offset; offset < file.Bytes; {
		p, err := r.recv(Silence) // the sender does nothing but read it
		if err != nil {
			r.memory.part = &part{file: *file, bytes: offset, hash: h}
			return err
		}
		c, err := decodeChunk(p, r.manifest)
		if err != nil {
			return err
		}
		if c.file != w.file || c.offset != offset {
			return fmt.Errorf("%w: chunk of file %d at %d, want file %d at %d", ErrFormat, c.file, c.offset, w.file,
				offset)
		}
		h.Write(c.data)
		if _, err := f.WriteAt(c.data, offset); err != nil {
			return err
		}
		offset += int64(len(c.data))
		r.done += int64(len(c.data))
		r.report(Progress{DoneBytes: r.done, TotalBytes: r.manifest.Bytes()})
	}
	return nil
}

// install makes the directories durable, and then the staged checkpoint a complete one.
func (r *receiver) install() error {
	synced := make(map[string]bool)
	for i := range r.manifest.Files {
		parent := filepath.Dir(path(r.dir, r.manifest.Files[i].Name))
		if synced[parent] {
			continue
		}
		synced[parent] = true
		if err := r.fs.SyncDir(parent); err != nil {
			return err
		}
	}
	if err := r.fs.SyncDir(r.dir); err != nil {
		return err
	}
	return r.rename(stagingName, manifestName)
}

func (r *receiver) rename(from, to string) error {
	if err := r.fs.Rename(filepath.Join(r.dir, from), filepath.Join(r.dir, to)); err != nil {
		return err
	}
	return r.fs.SyncDir(r.dir)
}
