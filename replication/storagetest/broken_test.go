package storagetest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/storagetest"
)

// mistakes are what an engine's author gets wrong, each with the parts of the suite of which one has to see it.
var mistakes = map[string]string{
	"none":                         "",
	"none, in steps":               "",
	"metadata without commands":    "Metadata|Begin|PowerCut",
	"a beginning is not saved":     "Metadata|Begin|PowerCut",
	"commands before metadata":     "PowerCutInside",
	"commands one by one":          "PowerCutInside",
	"results of the wrong order":   "OrderAndResults",
	"the batch is kept":            "OrderAndResults|KeepsNothing",
	"random":                       "OrderAndResults",
	"batches show":                 "OrderAndResults",
	"snapshots are not of a place": "Snapshot",
	"a restore adds":               "Restore",
	"a restore keeps its metadata": "Restore",
	"a restore clears first":       "RestoreThatFails",
	"a sync does nothing":          "PowerCut",
	"a sync forgets what comes":    "SyncBeside",
	"results are reused":           "OrderAndResults",
	"results are the commands":     "OrderAndResults",
	"commands are changed":         "OrderAndResults",
	"the metadata is changed":      "OrderAndResults",
	"steps with the last metadata": "PowerCutInside",
	"steps show":                   "OrderAndResults",
}

var mistake = flag.String("mistake", "", "run the suite on an engine that makes this one")

// TestMistakesAreSeen runs the suite once for each in a process of its own, since it is to fail.
func TestMistakesAreSeen(t *testing.T) { seen(t, mistakes) }

func seen(t *testing.T, mistakes map[string]string) {
	for name, parts := range mistakes {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			which := "^TestSuite$"
			if parts != "" {
				which += "/^(" + parts + ")$"
			}
			run := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+which, "-mistake="+name)
			out, err := run.CombinedOutput()
			if parts == "" {
				if err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				return
			}
			seen := slices.ContainsFunc(strings.Split(parts, "|"), func(part string) bool {
				return bytes.Contains(out, []byte("--- FAIL: TestSuite/"+part+" "))
			})
			if err == nil || !seen {
				t.Errorf("none of %s fails:\n%.2000s", parts, out)
			}
		})
	}
}

func TestSuite(t *testing.T) {
	if *mistake == "" {
		t.Skip("TestMistakesAreSeen runs it")
	}
	storagetest.Run(t, storagetest.Suite{
		New: func(testing.TB) storagetest.Engine {
			if _, files := mistakesOfFiles[*mistake]; files {
				return newShelf(*mistake)
			}
			return newList(*mistake, nil)
		},
		Command:     func(r *rand.Rand) []byte { return fmt.Appendf(nil, "%d", r.IntN(100)) },
		CrashInside: true,
	})
}

// list is an engine that keeps all commands, and its disk. It makes one mistake.
type list struct {
	mistake string

	mu     sync.Mutex
	now    content
	synced content      // what a power cut leaves
	clean  bool         // nothing is to be synced, for whom makes a mistake of that
	buffer []byte       // of results, for whom reuses it
	came   int          // how many steps, and cuts of the power
	syncs  atomic.Int64 // that are under way
	after  bool         // a power cut: of what it left only the content is looked at
}

type content struct {
	Items [][]byte
	Meta  *contract.Metadata
}

func (c content) clone() content { return content{slices.Clone(c.Items), c.Meta} }

func newList(mistake string, c *content) *list {
	l := &list{mistake: mistake}
	if c != nil {
		l.now, l.synced = c.clone(), c.clone()
	}
	return l
}

// eager reports whether every step is on the disk at once.
func (l *list) eager() bool {
	return !strings.HasPrefix(l.mistake, "none") && !strings.HasPrefix(l.mistake, "a sync")
}

// step does one atomic step.
func (l *list) step(do func(c *content)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clean = false
	l.came++
	if do(&l.now); l.eager() {
		l.synced = l.now.clone()
	}
}

// waits are what rests have taken, in all of a process: no mistake needs more than maxWaits to be met.
var waits atomic.Int64

const maxWaits = 3 * time.Second

// seen returns how many steps there were, and cuts of the power.
func (l *list) seen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.came
}

// rest is the time in which the power may be cut, or others may do something: until one of both has come, since on a
// busy machine nobody else would have the time for it by chance; but not for long, since both may have come before.
func (l *list) rest() {
	before, began := l.seen(), time.Now()
	for n := 0; l.seen() == before; n++ {
		if n >= 200 && (waits.Load() > int64(maxWaits) || time.Since(began) > 20*time.Millisecond) {
			break
		}
		runtime.Gosched()
	}
	waits.Add(int64(time.Since(began)))
}

// longWaits are what the rests have taken in which a Sync and others meet. Where the mistake is seen the suite ends
// long before they have taken as much as they may.
var longWaits atomic.Int64

const (
	maxLongWaits = time.Minute
	quiet        = 100 * time.Millisecond // for which others would not stand still on a busy machine either
)

// restUntilQuiet is the time in which others do something, until they have done it, as it seems.
func (l *list) restUntilQuiet() {
	if l.after {
		return
	}
	last, since, began := l.seen(), time.Now(), time.Now()
	for time.Since(since) < quiet && longWaits.Load() < int64(maxLongWaits) {
		runtime.Gosched()
		if now := l.seen(); now != last {
			last, since = now, time.Now()
		}
	}
	longWaits.Add(int64(time.Since(began)))
}

// restUntilSync is the time in which a Sync may begin, of which nobody knows whether it comes.
func (l *list) restUntilSync() {
	if l.after {
		return
	}
	began := time.Now()
	for l.syncs.Load() == 0 && time.Since(began) < 2*time.Millisecond && longWaits.Load() < int64(maxLongWaits) {
		runtime.Gosched()
	}
	longWaits.Add(int64(time.Since(began)))
}

func (l *list) Load() (*contract.Metadata, error) { return l.now.Meta, nil }

func (l *list) Apply(b *contract.Batch) ([][]byte, error) {
	var results [][]byte
	var items [][]byte
	for i, c := range b.Commands {
		item := bytes.Clone(c.Data)
		switch l.mistake {
		case "the batch is kept":
			item = c.Data
		case "random":
			item = fmt.Append(item, rand.Int())
		case "batches show":
			item = fmt.Append(item, i)
		}
		items = append(items, item)
		results = append(results, l.result(c.Data, item))
	}
	switch l.mistake {
	case "a sync forgets what comes":
		l.restUntilSync()
	case "results of the wrong order":
		slices.Reverse(results)
	case "commands before metadata", "commands one by one":
		for i := range items {
			l.step(func(c *content) { c.Items = append(c.Items, items[i]) })
			l.rest()
		}
		items = nil
	case "none, in steps", "steps with the last metadata", "steps show":
		items = l.inSteps(b, items)
	}
	l.step(func(c *content) {
		c.Items = append(c.Items, items...)
		if l.mistake != "metadata without commands" || len(b.Commands) > 0 {
			c.Meta = b.Metadata
		}
		if l.mistake == "the metadata is changed" {
			b.Metadata.AppliedTerm++
		}
	})
	return results, nil
}

// result returns the result of a command of which item is kept.
func (l *list) result(data, item []byte) []byte {
	switch l.mistake {
	case "results are reused":
		begins := len(l.buffer)
		if l.buffer = append(l.buffer, item...); begins > 20 {
			l.buffer = append(l.buffer[:0], item...)
			begins = 0
		}
		return l.buffer[begins:]
	case "results are the commands":
		return data
	case "commands are changed":
		slices.Reverse(data)
	}
	return item
}

// inSteps does the batch up to its last cut, and returns what is left of items.
func (l *list) inSteps(b *contract.Batch, items [][]byte) [][]byte {
	from := 0
	for _, cut := range b.Cuts {
		l.step(func(c *content) {
			c.Items = append(c.Items, items[from:cut.Commands]...)
			switch c.Meta = b.MetadataAt(cut); l.mistake {
			case "steps with the last metadata":
				c.Meta = b.Metadata
			case "steps show":
				c.Items = append(c.Items, []byte("step"))
			}
		})
		from = cut.Commands
		l.rest()
	}
	return items[from:]
}

func (l *list) Begin(r contract.Reign, m *contract.Metadata) error {
	l.step(func(c *content) {
		c.Items = append(c.Items, fmt.Append(nil, "epoch ", r.Epoch))
		if l.mistake != "a beginning is not saved" {
			c.Meta = m
		}
	})
	return nil
}

func (l *list) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.mistake == "a sync does nothing":
	case l.mistake != "a sync forgets what comes":
		l.synced = l.now.clone()
	default:
		l.forgetful()
	}
	return nil
}

// forgetful is a Sync that takes what comes meanwhile for synced. mu is held; others have it while it lasts.
func (l *list) forgetful() {
	l.syncs.Add(1)
	defer l.syncs.Add(-1)
	held, came := l.now.clone(), l.came
	for began := time.Now(); l.came == came && !l.after && time.Since(began) < quiet; {
		l.mu.Unlock()
		runtime.Gosched() // it runs beside others, which come now, or it does not
		l.mu.Lock()
	}
	if l.clean {
		return
	}
	l.mu.Unlock()
	l.restUntilQuiet()
	l.mu.Lock()
	l.synced, l.clean = held, true
}

// view is written out later.
type view struct {
	l    *list
	held content
}

func (l *list) Snapshot() (contract.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &view{l, l.now.clone()}, nil
}

func (v *view) Close() error { return nil }

func (v *view) WriteTo(w io.Writer) (int64, error) {
	if v.l.mistake == "snapshots are not of a place" {
		v.l.mu.Lock()
		v.held = v.l.now.clone()
		v.l.mu.Unlock()
	}
	p, err := json.Marshal(v.held)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(p)
	return int64(n), err
}

func (l *list) Restore(r io.Reader, m *contract.Metadata) error {
	if l.mistake == "a restore clears first" {
		l.step(func(c *content) { *c = content{} })
	}
	p, err := io.ReadAll(r)
	var c content
	if err := errors.Join(err, json.Unmarshal(p, &c)); err != nil {
		return err
	}
	if m != nil && l.mistake != "a restore keeps its metadata" {
		c.Meta = m
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mistake == "a restore adds" {
		c.Items = append(l.now.Items, c.Items...)
	}
	l.now, l.synced = c.clone(), c.clone()
	return nil
}

func (l *list) Storage() contract.Storage { return l }
func (l *list) Contents() ([]byte, error) { return json.Marshal(l.now.Items) }
func (l *list) Close() error              { return nil }

func (l *list) Crashed(testing.TB) storagetest.Engine {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came++
	left := newList(l.mistake, &l.synced)
	left.after = true
	return left
}
