package token

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Tokens makes and reads tokens. It is safe for concurrent use.
type Tokens interface {
	// Assign makes a token for a user whose password was right at an auth revision. The error is ErrVerifyOnly, or says
	// why the key cannot sign.
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
}

// Claim is what a token says.
type Claim struct {
	User string
	// Assigned is the auth revision at which the token was made: a state before it may not know the user yet.
	Assigned uint64
	// Revision is that by which requests with the token are judged: of a simple one the present, of a JWT its own.
	Revision uint64
}

// Errors of tokens.
var (
	ErrInvalid    = errors.New("token: invalid")
	ErrVerifyOnly = errors.New("auth: token signing attempted with verify-only key") // in etcd's words
	// ErrUnknownUser is ErrInvalid too: of a simple token whose user is not known here, or not yet.
	ErrUnknownUser = fmt.Errorf("%w: no such user", ErrInvalid)
)

// DefaultTTL is for how long a token counts.
const DefaultTTL = 5 * time.Minute

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
