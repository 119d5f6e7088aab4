package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

// Who is stopped before he reached the etcd names no revision: it is not known, and not 0.
func TestWhoIsStoppedBeforeItKnowsNamesNoRevision(t *testing.T) {
	for format, want := range map[string]string{
		"text": "stopped before it knew at which revision it is; run it again to go on\n", "json": "{}\n",
	} {
		x := &crossing{n: &connection{endpoints: []string{"127.0.0.1:1"}, output: format}}
		x.o.endpoints = []string{"http://127.0.0.1:1"}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var out, errs bytes.Buffer
		if err := x.follow(ctx, &out, &errs); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v, want %q; %s", format, out.String(), err, want, errs.String())
		}
	}
	if text := stoppedText(7); !strings.HasPrefix(text, "stopped at revision 7;") {
		t.Error(text)
	}
}
