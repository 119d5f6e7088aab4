package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// A program in the process of a node follows what is committed, from a place that it keeps with what it made of all
// that came before, on any node, and over a switchover.
func TestTheLogIsAFeed(t *testing.T) {
	f := &fleet{t: t, dir: t.TempDir(), regions: map[string][]string{"us": {"us-1"}, "eu": {"eu-1"}}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	f.start(ctx)
	defer f.stop()
	at, err := replication.HistoryOf(f.nodes["us-1"]).Now()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, word := range strings.Fields("to be or not") {
		if word == "or" {
			if _, err := f.nodes["us-1"].Switchover(ctx, "eu"); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.nodes["us-1"].Apply(&replication.Command{Data: []byte(word)}, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"us-1", "eu-1"} { // each goes on where the other one was left, in another process
		if err := json.Unmarshal(kept, &at); err != nil {
			t.Fatal(err)
		}
		commands := 2
		if name == "eu-1" {
			commands = 4 - len(got)
		}
		more, err := read(ctx, f.nodes[name], &at, commands)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, more...)
		if kept, err = json.Marshal(at); err != nil {
			t.Fatal(err)
		}
	}
	if want := "1 to, 2 be, 3 or, 4 not"; strings.Join(got, ", ") != want {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}

// read returns at least so many commands behind a place, as they are committed, and moves that behind them. Errors:
// replication.ErrHistoryForked if a failover has cut off the place, replication.ErrHistoryReleased if the log does not
// reach back to it: then begin with the whole state.
func read(
	ctx context.Context, node *replication.MultiRegionReplicator, at *timeline.Origin, least int,
) (commands []string, err error) {
	history := replication.HistoryOf(node)
	var reading *replication.HistoryReading
	for len(commands) < least {
		if reading == nil {
			if reading, err = history.Read("feed", *at); passes(err) && pause(ctx) {
				continue
			} else if err != nil {
				return nil, err
			}
			defer reading.Close() // once more does nothing
		}
		payloads, cursor, end, err := reading.Next()
		if passes(err) && pause(ctx) {
			reading.Close()
			reading = nil
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, p := range payloads {
			h, _ := timeline.ReadHeader(p)
			if h.Kind == timeline.KindReign {
				reign, err := timeline.DecodeReign(p)
				if err != nil {
					return nil, err
				}
				at.Reigns = append(at.Reigns, reign)
				continue
			}
			var frame timeline.Frame
			if err := timeline.DecodeFrame(p, &frame); err != nil {
				return nil, err
			}
			for i, c := range frame.Commands {
				commands = append(commands, fmt.Sprint(frame.First+timeline.Position(i), " ", string(c.Data)))
			}
		}
		at.Cursor = cursor
		reading.Done(cursor) // once what came is kept: until then the log is
		if end && len(commands) < least && !pause(ctx) {
			return nil, ctx.Err()
		}
	}
	return commands, nil
}

// passes reports whether an error of reading is over soon: this node has not heard of the place yet, or has given way
// in a switchover and not heard how that went on.
func passes(err error) bool {
	return errors.Is(err, replication.ErrHistoryBehind) || errors.Is(err, replication.ErrHistoryRefused)
}

// pause waits a moment; false when it is over.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(10 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}
