package contract

// Verifier is a Checkpointer that can tell whether the files of a checkpoint are what was written. With it what a disk
// spoiled is found where it lies; without it, it is copied as everything else is, and shows on whichever node reads it.
// Both methods may be called from any goroutine, concurrently with everything else, and change nothing in dir.
type Verifier interface {
	Checkpointer
	// VerifyFile reads the file of this name in dir, a checkpoint of this storage or of that of another node, perhaps
	// of a part of it. Error: it wraps ErrDamaged if the file is not what was written. It is nil if the file alone does
	// not tell.
	VerifyFile(dir, name string) error
	// Verify opens the checkpoint in dir beside the state, as Install would, and closes it again. It need not read what
	// VerifyFile does. Error: it wraps ErrDamaged if what is in dir is none.
	Verify(dir string) error
}
