package wal

import "github.com/mimir-kv/mimir/replication/durable"

// patience is what is done about a disk that has no room: it returns when what was tried may be tried again, or false
// if it is not to be. Nil: it is not.
type patience func(err error) bool

// WaitForRoom has whatever finds no room on the disk ask again, until it returns false; nil: nothing is asked, and a
// full disk is final like every other error. The call that appends stays in it meanwhile; readers do not. Whoever
// appends calls it.
//
// What a sync was to make durable, and found no room for, is written anew from memory, all of it: nobody knows what of
// it is on the disk then. A sync that fails with anything else is final.
func WaitForRoom(l *Log, again func(err error) bool) { l.writer.patience = again }

// through does what may be done over and over, until there is room for it.
func (p patience) through(do func() error) error {
	for {
		err := do()
		if p == nil || !durable.Full(err) || !p(err) {
			return err
		}
	}
}
