package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mimir-kv/mimir/server/admin"
)

const (
	// eventWait is for how long a node waits for an event.
	eventWait = 10 * time.Second
	// eventPause is the pause after a round in which nobody answered.
	eventPause = time.Second
)

// eventFollow tells events as they come.
type eventFollow struct {
	crowd     *eventCrowd
	out, errs io.Writer
	json      bool
	teller    eventTeller
	shown     map[string]bool   // by identity
	silent    map[string]string // who does not answer, as it was said
}

func (f *eventFollow) run(ctx context.Context) error {
	if err := f.crowd.find(ctx); err != nil {
		return err
	}
	if f.crowd.note != "" {
		fmt.Fprintln(f.errs, "NOTE:", f.crowd.note)
	}
	for wait := time.Duration(0); ; wait = eventWait {
		answers := f.crowd.askAll(ctx, wait)
		if ctx.Err() != nil {
			return nil
		}
		report := f.crowd.tell(answers)
		if err := f.show(report); err != nil {
			return err
		}
		if len(report.Nodes) == 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(eventPause):
			}
		}
		f.crowd.find(ctx) //nolint:errcheck // those that are known are asked all the same
	}
}

func (f *eventFollow) show(r *eventReport) error {
	for i := range r.Events {
		e := &r.Events[i]
		if e.ID != "" && f.shown[e.ID] {
			continue
		}
		if e.ID != "" {
			f.shown[e.ID] = true
		}
		text := []byte(f.teller.line(e))
		if f.json {
			var err error
			if text, err = admin.Marshal(e); err != nil {
				return err
			}
		}
		if _, err := f.out.Write(append(text, '\n')); err != nil {
			return err
		}
	}
	f.showSilent(r)
	return nil
}

// showSilent says who ceased to answer, and who does again.
func (f *eventFollow) showSilent(r *eventReport) {
	now := map[string]string{}
	for _, s := range r.Silent {
		key := s.Region + "/" + s.Node
		now[key] = s.text()
		if f.silent[key] == "" {
			fmt.Fprintln(f.errs, s.text())
		}
	}
	for _, n := range r.Nodes {
		if f.silent[n.Region+"/"+n.Node] != "" {
			fmt.Fprintf(f.errs, "%s (%s) answers again\n", n.Node, n.Region)
		}
	}
	for key, text := range f.silent { // of whom nothing was heard in this round
		answered := false
		for _, n := range r.Nodes {
			answered = answered || n.Region+"/"+n.Node == key
		}
		if now[key] == "" && !answered {
			now[key] = text
		}
	}
	f.silent = now
}
