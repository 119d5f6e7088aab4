package auth

import (
	"slices"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/authpb"

	"github.com/mimir-kv/mimir/kv/command"
)

// Root is the name of the user without whom authentication cannot be enabled, and of the role that may do everything.
const Root = "root"

// FirstRevision is that of a store in which no user or role was ever changed, as in etcd.
const FirstRevision = 1

// Bounds of what a state holds. Whether a change is refused for them is part of the history: they never change.
const (
	// MaxBytes bounds what users, roles and permissions take together: their names, keys and hashes, and
	// recordBytes for each, and for each role of a user.
	MaxBytes = 16 << 20
	// MaxNameBytes bounds the name of a user or a role.
	MaxNameBytes = 4 << 10

	recordBytes = 64
)

// Identity is who asks.
type Identity = command.Identity

// State is who may do what. It does not change, and is safe for concurrent use.
type State struct {
	settings
	users map[string]*user
	roles map[string]*authpb.Role
	bytes int64 // of users and roles, as MaxBytes counts
}

// settings are what a state has beside users and roles.
type settings struct {
	enabled  bool
	revision uint64
	tokenKey []byte // empty: authentication was never enabled
}

// user is a user, with what its roles permit, and its basis, once these were asked for.
type user struct {
	*authpb.User
	permits atomic.Pointer[permits]
	basis   atomic.Pointer[basis]
}

// New returns the state of a store in which no user or role was ever changed.
func New() *State {
	return &State{
		settings: settings{revision: FirstRevision}, users: map[string]*user{}, roles: map[string]*authpb.Role{},
	}
}

// Enabled reports whether requests have to say who asks.
func (s *State) Enabled() bool { return s.enabled }

// Revision is a number that grows with nearly every change.
func (s *State) Revision() uint64 { return s.revision }

// TokenKey returns what tokens are signed with, the same on all nodes; nil if authentication was never enabled. It must
// not be changed.
func (s *State) TokenKey() []byte { return s.tokenKey }

// Used reports whether anything was ever changed: an unused state is not on disk, and is in no hash.
func (s *State) Used() bool {
	return s.enabled || s.revision != FirstRevision || len(s.tokenKey) > 0 || len(s.users) > 0 || len(s.roles) > 0
}

// HasRole reports whether a user has a role.
func (s *State) HasRole(name, role string) bool {
	u := s.users[name]
	return u != nil && u.hasRole(role)
}

func (u *user) hasRole(role string) bool {
	_, found := slices.BinarySearch(u.Roles, role)
	return found
}

func (s *State) user(name string) *authpb.User {
	if u := s.users[name]; u != nil {
		return u.User
	}
	return nil
}
