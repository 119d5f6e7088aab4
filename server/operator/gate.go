package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimir-kv/mimir/server/tracing"
)

// ErrUnused says that a way to have the operator's right is not in use, so that it neither gives nor denies it.
var ErrUnused = errors.New("not in use")

// ErrDenied says that a call needs the operator's right, and why the caller has not got it.
var ErrDenied = errors.New("needs the operator's right")

// ErrAudit says that a call was refused because the audit log cannot be written.
var ErrAudit = errors.New("the audit log cannot be written, and audit-log-required wants it")

// ErrMany says that a call was refused because who made it has shown no right, too many were made by him or others who
// have not, and each would have to be written.
var ErrMany = errors.New("too many calls of who has shown no right, each of which audit-log-required wants written; " +
	"say who is an operator, or ask at a loopback address or a socket of the node's machine")

// Link is one way to have the operator's right. It is safe for concurrent use.
type Link interface {
	// Operator returns who the caller is, for the audit log, if he is an operator; ErrUnused if this way is not in use,
	// for nobody; any other error says in a few words why he is not, and what to show, and who he is then is told too,
	// if he has shown that. ctx is the call's.
	Operator(ctx context.Context, c *Caller) (who string, err error)
	// Used reports whether this way is in use, as far as this node knows by itself. It waits for nothing.
	Used() bool
}

// Gate stands before every call. It is safe for concurrent use.
type Gate struct {
	links []Link
	audit *Audit
}

// NewGate returns a gate that lets pass whom one of the links knows, or everybody if none is in use.
func NewGate(audit *Audit, links ...Link) *Gate { return &Gate{links, audit} }

// Everybody reports whether everybody is an operator, because no link is in use. It waits for nothing.
func (g *Gate) Everybody() bool { return !slices.ContainsFunc(g.links, Link.Used) }

// Rules reports whether a rule of this node says who is an operator. It waits for nothing.
func (g *Gate) Rules() bool {
	return slices.ContainsFunc(g.links, func(l Link) bool { return isRule(l) && l.Used() })
}

type whoKey struct{}

// Who returns who makes a call over HTTP that needs the operator's right, as the audit log has him; empty if he was not
// asked.
func Who(ctx context.Context) string {
	who, _ := ctx.Value(whoKey{}).(string)
	return who
}

// identity is who makes a call for operators.
type identity struct {
	who    string
	proven bool // he had to show it
	ruled  bool // by a rule of this node, whatever users and roles say
}

type ruledKey struct{}

// Ruled reports whether a rule of this node makes whoever makes a call an operator, of those calls that need it.
func Ruled(ctx context.Context) bool { return ctx.Value(ruledKey{}) != nil }

// allow returns the context of what an operator called.
func (i *identity) allow(ctx context.Context) context.Context {
	if !i.ruled {
		return ctx
	}
	return context.WithValue(ctx, ruledKey{}, true)
}

// identify returns who has the operator's right; with an error who has not, if that is known.
func (g *Gate) identify(ctx context.Context, c *Caller) (identity, error) {
	var denied error
	var known string
	for _, l := range g.links {
		who, err := l.Operator(ctx, c)
		switch {
		case errors.Is(err, ErrUnused):
		case err == nil:
			return identity{who, true, isRule(l)}, nil
		default:
			if denied != nil {
				err = fmt.Errorf("%w; %w", denied, err)
			}
			denied, known = err, cmp.Or(known, who)
		}
	}
	if denied != nil {
		return identity{who: known}, denied
	}
	return identity{who: "anybody: no rule says who is an operator"}, nil
}

func isRule(l Link) bool {
	switch l.(type) {
	case *Certificates, *Tokens:
		return true
	}
	return false
}

// operation is a call for operators that was let in.
type operation struct {
	entry
	identity
	audit *Audit
	began time.Time
}

// begin lets an operator's call in. Whoever gets an operation ends it.
func (g *Gate) begin(ctx context.Context, name string, call *Call, c *Caller, args []argument) (*operation, error) {
	id, err := g.identify(ctx, c)
	told := entry{op: name, args: args, caller: c, who: id.who, proven: id.proven, reads: call.Reads,
		trace: tracing.Attrs(ctx)}
	o := &operation{told, id, g.audit, time.Now()}
	if err != nil {
		o.outcome, o.err = refused, err
		o.audit.tell(&o.entry) //nolint:errcheck // it is refused either way
		return nil, fmt.Errorf("%s %w: %w", name, ErrDenied, err)
	}
	if g.audit.Required() && !id.proven && !g.audit.rations.take(c.site(), o.began) {
		o.outcome, o.err = refused, ErrMany
		o.audit.tell(&o.entry) //nolint:errcheck // it is refused either way
		return nil, fmt.Errorf("%s: %w", name, ErrMany)
	}
	if call.Long || g.audit.Required() {
		o.outcome = begun
		if err := o.audit.tell(&o.entry); err != nil && g.audit.Required() {
			return nil, fmt.Errorf("%w: %w", ErrAudit, err)
		}
	}
	return o, nil
}

// end tells how a call ended.
func (o *operation) end(err error) {
	o.outcome, o.err, o.took = done, err, time.Since(o.began)
	if err != nil {
		o.outcome = failed
	}
	o.audit.tell(&o.entry) //nolint:errcheck // the audit log has told the node's log
}

// errCut says that a call ended without saying how.
var errCut = errors.New("cut short")
