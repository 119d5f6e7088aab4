package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
)

// tenant is who keeps a directory, and what is to be said of it.
type tenant struct {
	who     string
	inside  string // what may be deleted there
	replace string // what to do if the directory cannot be used any more
}

var (
	aNode    = tenant{"node", "nothing inside but old files under rescue", replaceMember}
	aWitness = tenant{"witness", "nothing inside", "replace the witness by one of another name: see \"A voter is " +
		"lost\" in docs/failover.md"}
)

// advised is what to do about an error.
type advised struct {
	err  error
	text string
}

// advice is what to do about one that cannot start or go on, by the error that ended it. The first that fits counts.
func (t tenant) advice() []advised {
	again := "start the " + t.who + " again"
	inPlace := "a file or a link is in the place of what mimir keeps there: take it away, and " + again
	keepAndReplace := "do not repair it: keep the directory for inspection, check the disk, and " + t.replace
	return []advised{
		{atrest.ErrKey, "put that key into encryption-key-file, as a line behind the first, and " + again +
			"; nothing is damaged. `mimir keys list` says which keys a directory needs"},
		{atrest.ErrVersion, "upgrade mimir, and " + again},
		{replication.ErrNewer, "nothing is damaged: upgrade mimir, and " + again},
		{syscall.ENOSPC, "the disk is full, or can hold no further file (df -i): make room outside this directory, " +
			"or enlarge the disk, and " + again + "; delete " + t.inside},
		{syscall.EDQUOT, "the disk quota of this user is used up: raise it and " + again + "; delete " + t.inside},
		{syscall.EROFS, "the filesystem is read-only: mount it for writing and " + again + "; if the system made it " +
			"read-only by itself, check the disk first"},
		{syscall.EMFILE, "too many files are open: raise the limit of the process (LimitNOFILE, ulimit -n) and start " +
			"it again"},
		{syscall.EIO, "the disk does not do what it is asked: check it; if it is broken, " + t.replace},
		{fs.ErrPermission, "the user that runs mimir must own everything in this directory, be allowed to read and " +
			"write it (ls -l), and nothing in it may be immutable (lsattr)"},
		{syscall.ELOOP, "a link leads in a circle: put back what it stood for, and " + again + "; if it is gone, " +
			keepAndReplace},
		{replication.ErrIdentity, "mount the right directory, or put name, region and fleet back to what they were"},
		{replication.ErrHalfSown, "empty the directory, and restore again"},
		{replication.ErrDamaged, keepAndReplace},
		{fs.ErrNotExist, keepAndReplace},
		{syscall.EISDIR, keepAndReplace},
		{syscall.ENOTDIR, inPlace}, // the file keeps anything from being there, and is no part of it
		{fs.ErrExist, inPlace},
	}
}

// replaceMember is how a node whose directory cannot be used any more is replaced.
const replaceMember = "replace the node: `etcdctl member list` and `etcdctl member remove` at another node of its " +
	"region, then `etcdctl member add` under a new name, with an empty data-dir (a node that is alone in its region: " +
	"make another region primary, empty data-dir, start it)"

// checkPlace refuses a data directory that cannot be one. What is in it is nobody's loss: it is the wrong place.
func checkPlace(dir string) error {
	const advice = "name the directory that it is to be, or mount the disk that belongs there"
	info, err := os.Stat(dir)
	_, there := os.Lstat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("data-dir %s: it is a file and no directory; %s", dir, advice)
	case errors.Is(err, fs.ErrNotExist) && there == nil:
		return fmt.Errorf("data-dir %s: it is a link, and there is nothing where it leads; %s", dir, advice)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("data-dir %s: no directory can be there: %v; %s", dir, err, advice)
	default:
		return nil // what else is wrong with it shows when it is used
	}
}

// explained adds to the error that ended a node where it happened and what to do about it. It stays one line.
func explained(c *Config, err error) error { return aNode.explained(c.Replication.DataDir, err) }

func (t tenant) explained(dir string, err error) error {
	if err == nil || errors.Is(err, ErrConfig) || errors.Is(err, replication.ErrConfig) {
		return err
	}
	for _, a := range t.advice() {
		if errors.Is(err, a.err) && !errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("%w; %s", inDirectory(dir, err), a.text)
		}
	}
	if errors.Is(err, replication.ErrDiskLost) {
		return inDirectory(dir, err) // says itself what to do
	}
	return err
}

// inDirectory says which directory an error is about, once.
func inDirectory(dir string, err error) error {
	prefix := "data-dir " + dir + ": "
	if strings.HasPrefix(err.Error(), prefix) {
		return err
	}
	inUse := errors.Is(err, syscall.EAGAIN) || errors.Is(err, durable.ErrLocked) ||
		strings.Contains(err.Error(), "lock held by")
	if inUse {
		return fmt.Errorf("%sis another process using it? %w", prefix, err)
	}
	return fmt.Errorf("%s%w", prefix, err)
}

// cause is what ended the node: what the store said of its files, if it said anything, since whoever failed because of
// them knows less.
func (s *server) cause(err error) error {
	select {
	case failed := <-s.failed:
		if errors.Is(failed, replication.ErrDamaged) {
			return failed
		}
	default:
	}
	return err
}
