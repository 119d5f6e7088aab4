package operator

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Outcomes of a call for operators.
const (
	begun   = "begun"
	done    = "done"
	failed  = "failed"
	refused = "refused"
)

// entry is a line of the audit log.
type entry struct {
	op      string
	args    []argument
	caller  *Caller
	who     string
	proven  bool // it is somebody who has shown his right
	reads   bool // it changes nothing
	outcome string
	err     error
	took    time.Duration
	trace   []slog.Attr // of the call, if it is in one
}

// AuditOptions say where the audit log goes.
type AuditOptions struct {
	// File is appended to; it is made with mode 0600. Empty: the lines go to Logger.
	File string
	// Required refuses calls for operators while File cannot be written, and has each that is let in written. Where
	// everybody is an operator no more are let in than may be written.
	Required bool
	// Logger is the node's.
	Logger *slog.Logger
}

// Audit is the audit log. It is safe for concurrent use.
type Audit struct {
	options  AuditOptions
	file     *file        // nil: there is none
	out      slog.Handler // to the file, or to the log
	quiet    *quiet
	rations  rations
	problem  atomic.Pointer[string] // why the last line could not be written
	failures atomic.Uint64
	told     [4]atomic.Uint64 // by outcome
}

// OpenAudit opens the audit log.
func OpenAudit(o AuditOptions) (*Audit, error) {
	a := &Audit{options: o, out: o.Logger.Handler()}
	if o.File != "" {
		f, err := openFile(o.File)
		if err != nil {
			return nil, err
		}
		a.file, a.out = f, slog.NewJSONHandler(f, nil)
	}
	a.quiet = newQuiet(quietTime, a.tellMore)
	return a, nil
}

// Required reports whether what cannot be told must not be done.
func (a *Audit) Required() bool { return a.options.Required }

// Reopen opens the file anew, after it was put away.
func (a *Audit) Reopen() error {
	if a.file == nil {
		return nil
	}
	return a.file.reopen()
}

// Close tells what is left to be told.
func (a *Audit) Close() error {
	a.quiet.close()
	if a.file == nil {
		return nil
	}
	return a.file.close()
}

// Figures are a picture of an audit log.
type Figures struct {
	Outcomes map[string]uint64 // calls by outcome, also those for which no line was written
	Failures uint64            // lines that could not be written
	Problem  string            // why the last line could not be written, if it could not
}

var outcomes = [4]string{begun, done, failed, refused}

// Figures returns how the audit log is.
func (a *Audit) Figures() Figures {
	f := Figures{Outcomes: map[string]uint64{}, Failures: a.failures.Load()}
	for i, outcome := range outcomes {
		f.Outcomes[outcome] = a.told[i].Load()
	}
	if p := a.problem.Load(); p != nil {
		f.Problem = *p
	}
	return f
}

// tell writes a line, if it is not one of too many of a stranger's, or of a call that was let in where none may be that
// is not written. It returns an error if it could not be written.
func (a *Audit) tell(e *entry) error {
	for i, outcome := range outcomes {
		if e.outcome == outcome {
			a.told[i].Add(1)
		}
	}
	must := e.proven || a.options.Required && e.outcome != refused
	if !must && !a.quiet.due(e.caller.host(), e.op, e.outcome == refused || e.reads) {
		return nil
	}
	level := slog.LevelInfo
	if e.outcome == refused || e.outcome == failed {
		level = slog.LevelWarn
	}
	r := slog.NewRecord(time.Now(), level, "operation", 0)
	r.AddAttrs(slog.String("op", e.op), slog.String("outcome", e.outcome))
	if e.who != "" {
		r.AddAttrs(slog.String("who", e.who))
	}
	r.AddAttrs(slog.String("remote", e.caller.Remote))
	if c := e.caller.Certificate; c != nil {
		r.AddAttrs(slog.String("certificate", short(c.Subject.String())), slog.Any("names", namesOf(c)),
			slog.String("serial", c.SerialNumber.Text(16)))
	}
	if args := e.args; len(args) > 0 {
		if !e.proven {
			args = within(args, mostUnprovenBytes)
		}
		var group []any
		for _, arg := range args {
			group = append(group, slog.String(arg.name, arg.value))
		}
		r.AddAttrs(slog.Group("args", group...))
	}
	if e.outcome == done || e.outcome == failed {
		r.AddAttrs(slog.String("took", e.took.Round(time.Microsecond).String()))
	}
	if e.err != nil {
		r.AddAttrs(slog.String("err", short(e.err.Error())))
	}
	r.AddAttrs(e.trace...)
	return a.write(r)
}

// tellMore tells what was left out.
func (a *Audit) tellMore(o leftOut) {
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "operations that were not told one by one", 0)
	r.AddAttrs(slog.String("remote", o.host), slog.Int("more", o.n), slog.Int("remotes", o.hosts))
	if len(o.ops) > 0 {
		r.AddAttrs(slog.Any("ops", o.ops), slog.Any("by", o.by))
	}
	a.write(r) //nolint:errcheck // the node's log knows
}

// write writes a line, to the node's log if the file takes none.
func (a *Audit) write(r slog.Record) error {
	log := a.options.Logger
	if a.file == nil {
		// Whatever the level of the log: an operator may set that, and be silent about it.
		a.out.Handle(context.Background(), r) //nolint:errcheck // as slog does
		return nil
	}
	err := a.out.Handle(context.Background(), r)
	if err == nil {
		if a.problem.Swap(nil) != nil {
			log.Info("the audit log is written again", "file", a.options.File)
		}
		return nil
	}
	a.failures.Add(1)
	text := err.Error()
	if a.problem.Swap(&text) == nil {
		log.Error("the audit log cannot be written: its lines come here", "err", err)
	}
	log.Handler().Handle(context.Background(), r) //nolint:errcheck // as slog does
	return err
}
