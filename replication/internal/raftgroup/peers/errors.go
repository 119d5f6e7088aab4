package peers

import "errors"

// Errors of this package, to compare with errors.Is.
var (
	// ErrFormat says that bytes from a peer are not a message of this protocol.
	ErrFormat = errors.New("raftgroup: malformed message")
	// ErrWrongGroup says that a peer belongs to another group, or meant another node.
	ErrWrongGroup = errors.New("raftgroup: peer of another group")
	// ErrNoAddress says that nobody knows where a member is reached.
	ErrNoAddress = errors.New("raftgroup: no address is known")
	// ErrApart says that who is where a member was is of another life of the group, so that nothing is sent to him.
	ErrApart = errors.New("raftgroup: the member is of another life of the group")
)
