package contract

// Brancher is a Checkpointer that can go on from a checkpoint of its own beside the state. With it a region whose
// history has a fork goes back to the fork on its own disks; without it, it takes a copy of another region's state.
type Brancher interface {
	Checkpointer
	// Branch returns a state of its own that begins as the checkpoint in dir, which stays as it is. It must not cost
	// what a copy of the state does. dir is on the filesystem of the storage. It may be called, and the Branch used,
	// concurrently with everything else. What a crash leaves of a Branch is the storage's to remove.
	Branch(dir string) (Branch, error)
}

// Branch is a state beside a Storage's own, used by one goroutine. Apply and Begin are held to what Storage says of
// them, but that nothing of them need survive a crash, and that an error ends nothing but the branch: the region takes
// a copy of another one's state then.
type Branch interface {
	Apply(b *Batch) ([][]byte, error)
	Begin(r Reign, meta *Metadata) error
	// Checkpoint is that of a Checkpointer, of this state.
	Checkpoint(dir string) error
	// Close ends the branch, and removes all that it holds. It is called once.
	Close() error
}
