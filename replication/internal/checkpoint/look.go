package checkpoint

import (
	"errors"
	"fmt"
)

// Look tells of the files of a checkpoint whether they are what its storage wrote, which no sum of this package can: a
// sum is of what was on the disk when it was made. The zero value knows nothing of it.
//
// An error that wraps ErrCorrupt says that they are not. Any other says that this cannot be found out now.
type Look struct {
	// File looks at a file of dir that is there from end to end, by its name in the manifest. May be nil.
	File func(dir, name string) error
	// Whole looks at what all of them are together. May be nil.
	Whole func(dir string) error
}

func (l *Look) file(dir, name string) error {
	if l.File == nil {
		return nil
	}
	return l.File(dir, name)
}

func (l *Look) whole(dir string) error {
	if l.Whole == nil {
		return nil
	}
	return l.Whole(dir)
}

// Terms are on what a checkpoint is taken. The zero value is for any.
type Terms struct {
	// Fits says why a checkpoint is of no use when it is offered, before anything of it is asked for. May be nil.
	Fits func(*Manifest) error
	// Look is at each file when it is there, once as long as this process knows of it, and at all of them before the
	// checkpoint is complete.
	Look Look
}

// passes looks at a file that has its sum, and notes that it is whole. One that is not what was written is removed: the
// sender summed what his disk had spoiled.
func (r *receiver) passes(f *File) error {
	if err := r.terms.Look.file(r.dir, f.Name); err != nil {
		if errors.Is(err, ErrCorrupt) {
			err = errors.Join(err, r.fs.Remove(path(r.dir, f.Name)))
		}
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	r.memory.note(f)
	return nil
}

// passesWhole looks at everything that is here. What does not pass is removed: nobody knows which file it is.
func (r *receiver) passesWhole() error {
	err := r.terms.Look.whole(r.dir)
	if errors.Is(err, ErrCorrupt) {
		r.memory.forget()
		err = errors.Join(err, r.fs.RemoveAll(r.dir))
	}
	return err
}
