package command

import "errors"

// Errors of users and roles, as etcd has them.
var (
	ErrRootUserNotExist = errors.New("kv: root user does not exist")
	// ErrRootRoleNotExist says that the user root has not the role root.
	ErrRootRoleNotExist = errors.New("kv: root user does not have root role")
	ErrUserAlreadyExist = errors.New("kv: user name already exists")
	// ErrUserEmpty says that a request names no user: also one that does not say who asks, while that matters.
	ErrUserEmpty        = errors.New("kv: user name is empty")
	ErrUserNotFound     = errors.New("kv: user name not found")
	ErrRoleAlreadyExist = errors.New("kv: role name already exists")
	ErrRoleNotFound     = errors.New("kv: role name not found")
	ErrRoleEmpty        = errors.New("kv: role name is empty")
	// ErrAuthFailed says that there is no such user, or that the password is another one.
	ErrAuthFailed = errors.New("kv: authentication failed, invalid user ID or password")
	// ErrNoPasswordUser says that a user has no password, or was given one that is not the Base64 of a hash.
	ErrNoPasswordUser     = errors.New("kv: authentication failed, password was given for no password user")
	ErrPermissionNotGiven = errors.New("kv: permission not given")
	ErrPermissionDenied   = errors.New("kv: permission denied")
	// ErrRoleNotGranted says that a role cannot be taken from a user who has not got it.
	ErrRoleNotGranted = errors.New("kv: role is not granted to the user")
	// ErrPermissionNotGranted says that a permission cannot be taken from a role that has not got it.
	ErrPermissionNotGranted = errors.New("kv: permission is not granted to the role")
	ErrAuthNotEnabled       = errors.New("kv: authentication is not enabled")
	// ErrAuthOldRevision says that users or roles were changed since it was found out who asks.
	ErrAuthOldRevision  = errors.New("kv: revision of auth store is old")
	ErrInvalidAuthToken = errors.New("kv: invalid auth token")
	// ErrInvalidAuthMgmt says that root would lose its rights while they are needed, or that a range is none.
	ErrInvalidAuthMgmt = errors.New("kv: invalid auth management")
	// ErrTooManyUsers says that users, roles and permissions would take more than there is room for.
	ErrTooManyUsers = errors.New("kv: users, roles and their permissions would be too many: delete some first")
)
