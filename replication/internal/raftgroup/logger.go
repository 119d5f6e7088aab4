package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"go.etcd.io/raft/v3"
)

// raftLogger lets raft speak through slog. What raft calls information is detail to an operator: the group itself
// reports changes of leadership.
type raftLogger struct{ log *slog.Logger }

var _ raft.Logger = raftLogger{}

func (l raftLogger) write(level slog.Level, text func() string) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, text())
	}
}

func (l raftLogger) print(level slog.Level, v []any) {
	l.write(level, func() string { return fmt.Sprint(v...) })
}

func (l raftLogger) printf(level slog.Level, format string, v []any) {
	l.write(level, func() string { return fmt.Sprintf(format, v...) })
}

func (l raftLogger) Debug(v ...any)                   { l.print(slog.LevelDebug, v) }
func (l raftLogger) Debugf(format string, v ...any)   { l.printf(slog.LevelDebug, format, v) }
func (l raftLogger) Info(v ...any)                    { l.print(slog.LevelDebug, v) }
func (l raftLogger) Infof(format string, v ...any)    { l.printf(slog.LevelDebug, format, v) }
func (l raftLogger) Warning(v ...any)                 { l.print(slog.LevelWarn, v) }
func (l raftLogger) Warningf(format string, v ...any) { l.printf(slog.LevelWarn, format, v) }
func (l raftLogger) Error(v ...any)                   { l.print(slog.LevelError, v) }
func (l raftLogger) Errorf(format string, v ...any)   { l.printf(slog.LevelError, format, v) }

// Fatal and Panic end the loop, which turns the panic into the error that stops the node.
func (l raftLogger) Fatal(v ...any)                 { panic(complaint(fmt.Sprint(v...), v)) }
func (l raftLogger) Fatalf(format string, v ...any) { panic(complaint(fmt.Sprintf(format, v...), v)) }
func (l raftLogger) Panic(v ...any)                 { panic(complaint(fmt.Sprint(v...), v)) }
func (l raftLogger) Panicf(format string, v ...any) { panic(complaint(fmt.Sprintf(format, v...), v)) }

// complaint is raft's reason to go on no further: its words, and what they quote, so that a log that could not be read
// is known as that.
func complaint(text string, quoted []any) error {
	for _, q := range quoted {
		if err, ok := q.(error); ok {
			return &quoting{text, err}
		}
	}
	return errors.New(text)
}

type quoting struct {
	text  string
	cause error
}

func (q *quoting) Error() string { return q.text }
func (q *quoting) Unwrap() error { return q.cause }
