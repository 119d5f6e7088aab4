package token

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Tokens makes and reads tokens. It is safe for concurrent use.
type Tokens interface {
	// Assign makes a token for a user whose password was right by users at an auth revision. It says which password
	// that was, and counts as long as that is the user's: a node cannot be sure that what it has is what the primary
	// has, since one that was deposed confirms that to itself. The error is ErrVerifyOnly, ErrUnknownUser, or says why
	// the key cannot sign.
	Assign(users Users, user string, revision uint64) (string, error)
	// Read says whose a token is. It must not have expired, a simple one when the stream that shows it began. The error
	// is ErrInvalid.
	Read(users Users, token string, began time.Time) (Claim, error)
}

// Users is what is needed of the replicated state.
type Users interface {
	Revision() uint64
	// UserKey returns a secret of the fleet that changes with the user's password; false if there is no such user.
	UserKey(user string) (key []byte, ok bool)
	// Basis returns what may be told of the user's password, and changes with it; false if there is no such user.
	Basis(user string) (basis Basis, ok bool)
}

// Basis tells one password of a user from another, and neither of them.
type Basis = [16]byte

// Claim is what a token says.
type Claim struct {
	User string
	// Assigned is the auth revision at which the token was made: a state before it may not know the user yet.
	Assigned uint64
	// Revision is that by which requests with the token are judged: of a simple one the present, of a JWT its own.
	Revision uint64
	// Present says that no revision makes the token old: of a simple one.
	Present bool
	// Basis is the password that was shown for the token, as Users says it: of a simple one, and of a JWT that a node
	// gave. Of a JWT that was made elsewhere it is zero.
	Basis Basis
}

// Errors of tokens.
var (
	ErrInvalid    = errors.New("token: invalid")
	ErrVerifyOnly = errors.New("auth: token signing attempted with verify-only key") // in etcd's words
	// ErrUnknownUser is ErrInvalid too: of a simple token whose user is not known here, or not yet.
	ErrUnknownUser = fmt.Errorf("%w: no such user", ErrInvalid)
)

// DefaultTTL is for how long a token counts, and MostTTL for how long a simple one may.
const (
	DefaultTTL = 5 * time.Minute
	MostTTL    = 24 * time.Hour
)

// Spec says which tokens a node makes and takes. It is what the setting auth-token says.
type Spec struct {
	// Method is the algorithm of JWTs, such as RS256; empty for simple tokens.
	Method string
	// PublicFile and PrivateFile have the keys of JWTs. Without the private one, tokens are only verified.
	PublicFile, PrivateFile string
	// TTL is how long a token counts. Of simple ones it is what auth-token-ttl says.
	TTL time.Duration
}

// Parse reads a setting in the form of etcd's flag: "simple", or "jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,
// ttl=10m".
func Parse(text string) (Spec, error) {
	kind, rest, _ := strings.Cut(text, ",")
	spec := Spec{TTL: DefaultTTL}
	if kind == "simple" && rest == "" {
		return spec, nil
	}
	if kind != "jwt" {
		return Spec{}, fmt.Errorf("%q: use simple, or jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m", text)
	}
	seen := map[string]bool{}
	for _, pair := range strings.Split(rest, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" || seen[name] {
			return Spec{}, fmt.Errorf("%q: want each option once, as name=value", pair)
		}
		seen[name] = true
		if err := spec.set(name, value); err != nil {
			return Spec{}, err
		}
	}
	if err := spec.complete(); err != nil {
		return Spec{}, fmt.Errorf("%q: %w", text, err)
	}
	return spec, nil
}

func (s *Spec) set(name, value string) error {
	switch name {
	case "sign-method":
		s.Method = value
	case "pub-key":
		s.PublicFile = value
	case "priv-key":
		s.PrivateFile = value
	case "ttl":
		ttl, err := time.ParseDuration(value)
		if err != nil || ttl < time.Second {
			return fmt.Errorf("ttl %q: use a duration of at least 1s", value)
		}
		s.TTL = ttl
	default:
		return fmt.Errorf("option %q: there are sign-method, pub-key, priv-key and ttl", name)
	}
	return nil
}

func (s *Spec) complete() error {
	method, err := methodOf(s.Method)
	switch {
	case err != nil:
		return err
	case s.PrivateFile == "" && (method.symmetric() || s.PublicFile == ""):
		return errors.New("the key is missing: priv-key, or pub-key for a node that only verifies")
	}
	return nil
}
