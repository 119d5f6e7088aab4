package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/events"
)

// hostile is what no name of a node is: it has the title of the terminal set, clears its screen, turns a line round,
// and begins lines that look like others. One character is the control sequence introducer of terminals of eight bits.
const hostile = "u\x1b]0;x\a\x1b[2J\x7f\b\u202es\nFORGED\r\nFORGED\rFORGED\u009b2J\U000e0001"

// fill sets every text in v to hostile, every number to 3 and whatever can be true, but for where a node is.
func fill(v reflect.Value, at string, depth int) {
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Now()))
		return
	case depth == 0, v.Type() == reflect.TypeFor[json.RawMessage]():
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(hostile)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(3)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(3)
	case reflect.Float64:
		v.SetFloat(3)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), at, depth-1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), at, depth-1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, at, depth-1)
		fill(value, at, depth-1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch {
			case f.Name == "ClientURLs":
				v.Field(i).Set(reflect.ValueOf([]string{at}))
			case f.IsExported() && f.Name != "Silence": // a duration that nothing waits for
				fill(v.Field(i), at, depth-1)
			}
		}
	}
}

// hostileNode is what is at an endpoint: each answer has the form of a node's, and is hostile. It returns where it is.
func hostileNode(t *testing.T) string {
	t.Helper()
	answers := map[string]func() any{
		"/mimir/v1/fleet":            func() any { return &replication.FleetStatus{} },
		"/mimir/v1/node":             func() any { return &admin.Node{} },
		"/mimir/v1/tails":            func() any { return &[]replication.TailInfo{} },
		"/mimir/v1/events":           func() any { return &events.Page{} },
		"/mimir/v1/log":              func() any { return &admin.Log{} },
		"/mimir/v1/switchover":       func() any { return &replication.MoveReport{} },
		"/mimir/v1/failover":         func() any { return &replication.MoveReport{} },
		"/mimir/v1/votes/hold":       func() any { return &replication.Charter{} },
		"/mimir/v1/fleet/init":       func() any { return &admin.Founded{} },
		"/mimir/v1/votes/pause":      func() any { return &replication.Charter{} },
		"/mimir/v1/regions/add":      func() any { return &replication.RegionChange{} },
		"/mimir/v1/regions/remove":   func() any { return &replication.RegionChange{} },
		"/mimir/v1/regions/move":     func() any { return &replication.RegionChange{} },
		"/mimir/v1/votes/recover":    func() any { return &replication.Reign{} },
		"/mimir/v1/rebuild":          func() any { return &admin.Rebuilt{} },
		"/mimir/v1/tails/t":          func() any { return &admin.Write{Request: json.RawMessage("{\"a\":\n1}")} },
		"/mimir/v1/switchover/abort": func() any { return &admin.Aborted{} },
	}
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		make := answers[r.URL.Path]
		if make == nil {
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(map[string]string{"error": hostile}) //nolint:errcheck // nobody is there
			return
		}
		v := make()
		fill(reflect.ValueOf(v).Elem(), s.URL, 12)
		if list, ok := v.(*[]replication.TailInfo); ok {
			(*list)[0].Name, (*list)[0].Damaged = "t", ""
		}
		text, err := admin.Marshal(v)
		if err != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		w.Write(text) //nolint:errcheck // nobody is there
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestWhatOthersSayDoesNothingToATerminal: not what who is at an endpoint says, in any answer that a command prints,
// nor why it refuses; as text nobody's name begins a line, and as JSON all of it is there.
func TestWhatOthersSayDoesNothingToATerminal(t *testing.T) {
	at := hostileNode(t)
	for _, line := range []string{
		"status", "status -v", "status --check", "top --once --every 200ms", "events", "events --since 24h",
		"tail list",
		"tail show t", "tail show u", "tail diff t", "tail discard t --yes", "region list",
		"region add ap --peers 10.3.0.1:2380 --no-wait", "region remove ap", "region move ap --source us",
		"region bootstrap us --no-wait", "switchover --to us", "switchover --abort", "failover --to us --force",
		"failover --to us", "fleet show", "fleet pause --reason x", "fleet resume", "fleet hold --for 1m",
		"fleet init --primary us", "fleet recover --keep us --others-are-stopped", "log", "log --level debug", "verify",
		"node rebuild us-1 --yes",
	} {
		for _, form := range []string{"text", "json"} {
			var out, errs bytes.Buffer
			words := append(strings.Fields(line), "--endpoints", at, "--output", form)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			status := run(ctx, nil, words, &out, &errs)
			if ctx.Err() != nil {
				t.Errorf("%s -o %s: waits on", line, form)
			}
			cancel()
			t.Logf("%s -o %s: %d, %d bytes", line, form, status, out.Len()+errs.Len())
			if status == exitUsage && !strings.Contains(errs.String(), "knows no region") { // each has another name
				t.Errorf("%s is no command: %s", line, errs.String())
			}
			for _, text := range []string{out.String(), errs.String()} {
				if at := strings.IndexFunc(text, actsOnATerminal); at >= 0 {
					t.Errorf("%s -o %s: %q", line, form, text[max(0, at-80):min(len(text), at+20)])
				}
				if strings.Contains("\n"+text, "\nFORGED") {
					t.Errorf("%s -o %s: a name begins a line:\n%s", line, form, text)
				}
			}
			if form == "json" && out.Len() > 0 && !json.Valid(out.Bytes()) {
				t.Errorf("%s: no JSON:\n%s", line, out.String())
			}
		}
	}
}

func actsOnATerminal(r rune) bool { return unicode.Is(unicode.C, r) && r != '\n' && r != '\t' }

// TestVisible: each character is shown whole, however it is cut, and what is none is shown as that.
func TestVisible(t *testing.T) {
	text := "ok\tä€😀\n" + "\x1b[2J\u009b\u202e\U000e0001\xff\xc3"
	want := "ok\tä€😀\n" + `\u001b[2J\u009b\u202e\udb40\udc01` + "\ufffd"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		w := &visible{out: &out}
		for from := 0; from < len(text); from += size {
			if n, err := fmt.Fprint(w, text[from:min(from+size, len(text))]); err != nil || n == 0 {
				t.Fatal(n, err)
			}
		}
		if out.String() != want {
			t.Errorf("in pieces of %d: %q, want %q", size, out.String(), want)
		}
	}
	var out bytes.Buffer
	again(&visible{out: &out}, "a\x1bb")
	if got := out.String(); got != clearLine+cutLines+`a\u001bb`+wrapLines {
		t.Errorf("a line in place of one: %q", got)
	}
	said, heard := "\u009b\U000e0001\u200b\u007f", ""
	if err := json.Unmarshal(escaped([]byte(`"`+said+`"`)), &heard); err != nil || heard != said {
		t.Errorf("as JSON: %q, %v", heard, err)
	}
}
