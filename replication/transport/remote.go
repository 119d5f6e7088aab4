package transport

import "errors"

// wireErrors are the errors that keep their identity on the way from a handler to the opener. The index is on the
// wire: never reorder, only append.
var wireErrors = []error{ErrRemote, ErrUnreachable, ErrNoService, ErrClosed, ErrTooLarge, ErrFleet}

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
	return &remoteError{kind: wireErrors[wireIndex(err)], text: err.Error()}
}

// wireIndex returns the index in wireErrors of what err is, 0 (ErrRemote) if it is none of them.
func wireIndex(err error) int {
	for i, known := range wireErrors {
		if errors.Is(err, known) {
			return i
		}
	}
	return 0
}
