package contract

import (
	"context"
	"strings"
)

// Ended says why ctx has ended, nil if it has not: with errors.Is it is what ctx.Err returns, and nothing else. Its
// cause is only told. Whoever ended ctx may have given the error of another call for it, and what became of that one
// says nothing of this one: so a cause is never wrapped in an error of this library.
func Ended(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	return told(err, context.Cause(ctx))
}

// EndedIn is Ended for what somebody else, who was given ctx, returned when it had ended: that is told as well.
func EndedIn(ctx context.Context, returned error) error { return told(Ended(ctx), returned) }

// told returns err with the text of why.
func told(err, why error) error {
	if why == nil || strings.Contains(err.Error(), why.Error()) {
		return err
	}
	text := why.Error()
	if !strings.Contains(text, err.Error()) {
		text = err.Error() + ": " + text
	}
	return &end{err, text}
}

// end is an end of a context, with more text than it has itself.
type end struct {
	err  error
	text string
}

func (e *end) Error() string { return e.text }
func (e *end) Unwrap() error { return e.err }
