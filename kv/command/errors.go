package command

import "errors"

// Errors of the store's own rules. A command that breaks one changes nothing, and its result carries the error; reads
// return them. They are returned wrapped or bare; compare with errors.Is.
var (
	// ErrCompacted says that a revision is below the compaction revision, or inside a gap that a lossy reign left.
	ErrCompacted = errors.New("kv: required revision has been compacted")
	// ErrFutureRevision says that a revision has not been reached yet.
	ErrFutureRevision = errors.New("kv: required revision is a future revision")
	// ErrKeyNotFound says that ignore_value or ignore_lease met a key that does not exist, or that a transaction
	// holds an empty operation.
	ErrKeyNotFound = errors.New("kv: key not found")
	// ErrLeaseNotFound says that a lease does not exist, or no longer.
	ErrLeaseNotFound = errors.New("kv: lease not found")
	// ErrLeaseExists says that a lease of this ID was granted already.
	ErrLeaseExists = errors.New("kv: lease already exists")
	// ErrLeaseTTLTooLarge says that a time to live is above the longest (lease.MaxTTL).
	ErrLeaseTTLTooLarge = errors.New("kv: lease time to live too large")

	// Errors of structural checks (CheckPut and the others).

	ErrEmptyKey          = errors.New("kv: key is not provided")
	ErrValueProvided     = errors.New("kv: value is provided together with ignore_value")
	ErrLeaseProvided     = errors.New("kv: lease is provided together with ignore_lease")
	ErrTooManyOps        = errors.New("kv: too many operations in transaction")
	ErrDuplicateKey      = errors.New("kv: duplicate key in transaction")
	ErrInvalidSortOption = errors.New("kv: invalid sort option")

	// ErrEffectTooLarge says that a command would change more than nodes can do at once.
	ErrEffectTooLarge = errors.New("kv: the request would change or answer more at once than a node can")
	// ErrNoSpace says that a write was not proposed, because a node has raised the NOSPACE alarm.
	ErrNoSpace = errors.New("kv: a node is out of space")

	// ErrMalformed says that a command or result cannot be decoded.
	ErrMalformed = errors.New("kv: malformed command")
)

// codes are the errors that a result can carry. The position is on the wire: only append.
var codes = []error{
	nil, ErrCompacted, ErrFutureRevision, ErrKeyNotFound, ErrLeaseNotFound, ErrLeaseExists, ErrLeaseTTLTooLarge,
	ErrMalformed, ErrEffectTooLarge,
	ErrUserEmpty, ErrUserNotFound, ErrUserAlreadyExist, ErrRoleEmpty, ErrRoleNotFound, ErrRoleAlreadyExist,
	ErrRootUserNotExist, ErrRootRoleNotExist, ErrNoPasswordUser, ErrPermissionNotGiven, ErrPermissionDenied,
	ErrRoleNotGranted, ErrPermissionNotGranted, ErrAuthOldRevision, ErrInvalidAuthMgmt, ErrTooManyUsers,
	ErrFollows, ErrFollowsNot, ErrParted, ErrAuthNotEnabled,
}

// Carries reports whether err is one that a result can carry.
func Carries(err error) bool {
	_, ok := codeOf(err)
	return ok
}

func codeOf(err error) (byte, bool) {
	for i := 1; i < len(codes); i++ {
		if errors.Is(err, codes[i]) {
			return byte(i), true
		}
	}
	return 0, false
}
