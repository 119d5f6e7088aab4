package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Store keeps objects by name. It is safe for concurrent use, and so are several stores of one place, also those of
// other processes: of two that put one name, one comes last.
//
// A name is one to many elements with a slash between them, of letters and digits of ASCII and -_.=@, none of which
// begins with a dot. An element has at most 200 bytes, a name at most 700. What lies in the place under other names is
// not seen. No name may be a folder of another one: where "a" is, "a/b" cannot be.
type Store interface {
	// Put makes name hold what r has, whole or not at all, and durably. It replaces what was there. An error of r
	// is returned, wrapped.
	Put(ctx context.Context, name string, r io.Reader) error
	// Get returns what name holds at this moment, from its beginning; the caller closes it, before ctx ends or after.
	// The error is ErrNotFound if there is none.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List returns the objects whose names begin with prefix, any text, in the order of the bytes of their names.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Walk calls visit with each of them, in any order, until it returns an error, which is returned as it is. It holds
	// a page of them at a time, however many there are. Of what is put or deleted meanwhile it may see some.
	Walk(ctx context.Context, prefix string, visit func(Object) error) error
	// Delete removes an object. If there is none, that is no error.
	Delete(ctx context.Context, name string) error
	// String returns the place, fit to be shown: there is no secret in it.
	String() string
}

// Settler is a Store where an object may be read that is not durable yet: whoever put it may not have come to that, or
// could not. In another one what can be read is durable.
type Settler interface {
	// Settle returns once what name holds is durable, and changes nothing of it. It fails if there is none.
	Settle(ctx context.Context, name string) error
}

// Settle returns once what name holds in a store, where it was found, is durable. It puts nothing: the place may refuse
// to replace it, or have no room for it twice.
func Settle(ctx context.Context, s Store, name string) error {
	if settler, ok := s.(Settler); ok {
		return settler.Settle(ctx, name)
	}
	return nil
}

// Object is one of a list.
type Object struct {
	Name     string
	Size     int64     // in bytes
	Modified time.Time // when it was put, as the clock of the place says, perhaps in whole seconds
}

// What errors of a store are, by errors.Is, if they are one of these.
var (
	ErrNotFound = errors.New("there is no such object")
	ErrPlace    = errors.New("not a place for objects") // what Open is given cannot be one
	ErrNoPlace  = errors.New("the place is not there")  // its folder, bucket or host
	ErrName     = errors.New("not a name of an object")
	ErrDenied   = errors.New("no right to do that there")
	ErrFull     = errors.New("there is no room left")
	ErrClock    = errors.New("the clock here is not that of the place")
	ErrBusy     = errors.New("the place asks to come back later")
	ErrStalled  = errors.New("nothing moved for too long")
	ErrChanged  = errors.New("what came is not what was put")
)

// Options say how a place is reached. The zero value is complete; a folder needs Stall alone.
type Options struct {
	// CredentialsFile is one as AWS's tools keep it, of which the profile AWS_PROFILE, or else "default", counts. If
	// it is empty, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN count, and without them
	// AWS_SHARED_CREDENTIALS_FILE. They are read anew for each operation, so that what was rotated counts at once.
	CredentialsFile string
	// CAFile has the certificates, PEM, one of which the storage's must be signed by; empty means those of the system.
	CAFile string
	// Stall is for how long nothing may move before a request has failed, or a call of a folder; 0 means 1 min.
	Stall time.Duration
	// TempDir is where lies what is put into an object storage from a reader that cannot be sought in, if it is
	// large. Empty means the machine's folder for temporary files.
	TempDir string
}

// IsPlace reports whether text names a place for objects, rather than a path.
func IsPlace(text string) bool { return strings.Contains(text, "://") }

// Open returns the store of a place:
//
//	file:///dir
//	s3://bucket/prefix?endpoint=https://host:port&region=eu-central-1
//
// It only reads the text and the files of the options: whether the place is there is found out when it is used. What
// is not understood is ErrPlace.
func Open(where string, o Options) (Store, error) {
	if o.Stall <= 0 {
		o.Stall = time.Minute
	}
	scheme, rest, _ := strings.Cut(where, "://")
	switch scheme {
	case "file":
		return openFolder(rest, o.Stall)
	case "s3":
		return openBucket(where, o)
	default:
		return nil, fmt.Errorf("%w: %s: it begins with neither file:// nor s3://", ErrPlace, shown(where))
	}
}

// list is the List of a store by its Walk.
func list(ctx context.Context, s Store, prefix string) (all []Object, err error) {
	err = s.Walk(ctx, prefix, func(o Object) error {
		all = append(all, o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Split returns the place that the URL of an object is in, and the name of the object there: what stands behind the
// last slash.
func Split(where string) (place, name string, err error) {
	path, query, asked := strings.Cut(where, "?")
	at := strings.LastIndexByte(path, '/')
	if scheme := strings.Index(path, "://"); scheme < 0 || at <= scheme+2 {
		return "", "", fmt.Errorf("%w: %s: there is no name behind it", ErrPlace, shown(where))
	}
	place, name = path[:at], path[at+1:]
	if place == "file://" {
		place += "/"
	}
	if asked {
		place += "?" + query
	}
	return place, name, CheckName(name)
}

// Join returns the URL of an object, as Split takes it.
func Join(s Store, name string) string {
	path, query, asked := strings.Cut(s.String(), "?")
	path = strings.TrimRight(path, "/") + "/" + name
	if asked {
		path += "?" + query
	}
	return path
}

// shown is a text that was meant to be a place, without what may be secret in it.
func shown(where string) string {
	scheme, rest, found := strings.Cut(where, "://")
	if !found {
		path, _, _ := strings.Cut(where, "?")
		return fmt.Sprintf("%q", path)
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		if strings.Contains(rest[:at], "?") { // which of both sides is the place is anybody's guess
			return fmt.Sprintf("%q", scheme+"://***")
		}
		rest = "***" + rest[at:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	return fmt.Sprintf("%q", scheme+"://"+rest)
}
