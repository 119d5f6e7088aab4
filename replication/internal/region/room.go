package region

import "github.com/mimir-kv/mimir/replication/durable"

// Room waits for room on the disk, for what has to be there before the next entry is applied.
type Room interface {
	// Await waits a moment, and reports whether to try again what failed with err, an error that is durable.Full.
	Await(err error) bool
	// Found says that something was written.
	Found()
}

// patient is who waits for room, once the node has its state: whoever starts it is told at once that there is none.
type patient struct {
	room   Room // nil: nobody waits
	loaded bool
}

// through does what may be done over and over, until there is room for it.
func (p *patient) through(do func() error) error {
	for {
		err := do()
		switch {
		case p.room == nil || !p.loaded:
			return err
		case err == nil:
			p.room.Found()
			return nil
		case !durable.Full(err) || !p.room.Await(err):
			return err
		}
	}
}
