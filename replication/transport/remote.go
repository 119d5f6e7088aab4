package transport

import "slices"

// wireErrors are the errors that keep their identity on the way from a handler to the opener. The index is on the
// wire: never reorder, only append.
var wireErrors = []error{ErrRemote, ErrUnreachable, ErrNoService, ErrClosed, ErrTooLarge, ErrFleet, ErrRemoved,
	ErrStranger}

// remoteError is a handler's error as the opener sees it.
type remoteError struct {
	kind error // one of wireErrors
	text string
}

func (e *remoteError) Error() string { return ErrRemote.Error() + ": " + e.text }
func (e *remoteError) Unwrap() error { return e.kind }

// AsRemote returns what the opener of a stream sees of an error that its handler returned. It is for implementations
// of Transport; nil stays nil.
func AsRemote(err error) error {
	if err == nil {
		return nil
	}
	return Remote(Kind(err), err.Error())
}

// Kind returns the number by which an implementation of Transport sends what err is: that of the error of this package
// that errors.Is finds in it, 0 (ErrRemote) if there is none. What another peer said to this process is not among them:
// it is about the two, and the opener would take it for a word about itself. The numbers never change.
func Kind(err error) int {
	for i, known := range wireErrors {
		if isOwn(err, known) {
			return i
		}
	}
	return 0
}

// isOwn is errors.Is without what peers said.
func isOwn(err, known error) bool {
	if err == known {
		return true
	}
	switch e := err.(type) {
	case *remoteError:
		return false
	case interface{ Unwrap() error }:
		return isOwn(e.Unwrap(), known)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return isOwn(err, known) })
	}
	return false
}

// Remote returns what the opener of a stream sees of a handler's error that arrived as a kind and a text. A kind that
// is not known, as of a newer version, is ErrRemote.
func Remote(kind int, text string) error {
	if kind < 0 || kind >= len(wireErrors) {
		kind = 0
	}
	return &remoteError{kind: wireErrors[kind], text: text}
}
