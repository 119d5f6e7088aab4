package storagetest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/mimir-kv/mimir/replication/contract"
)

// source returns a snapshot of the whole history, and how far it reaches.
func source(t *testing.T, h *history) ([]byte, int) {
	t.Helper()
	r := h.replica(t)
	r.apply(len(h.events), 7)
	return written(t, view(t, r)), r.at
}

// behind returns a replica that has something of its own, which a restore takes away.
func behind(t *testing.T, h *history) *replica {
	t.Helper()
	r := h.replica(t)
	r.apply(len(h.events)/3, 7)
	if err := r.Storage().Sync(); err != nil && !errors.Is(err, contract.ErrVolatile) {
		t.Fatalf("Sync: %v", err)
	}
	return r
}

// A restore replaces everything, takes the metadata that it is given, and is durable when it returns.
func restore(t *testing.T, s Suite) {
	h := newHistory(s, length)
	content, at := source(t, h)
	r := behind(t, h)
	if err := r.Storage().Restore(bytes.NewReader(content), nil); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	r.at = at
	r.check("restored")

	given := h.metadata(at)
	given.AppliedIndex, given.Record = 99_999, []byte("of this region")
	r = behind(t, h)
	if err := r.Storage().Restore(bytes.NewReader(content), given); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	if m := r.loaded(); !equal(m, given) {
		t.Fatalf("metadata %+v, want the given %+v", m, given)
	}
	after := adopt(t, h, r.Crashed(t), at) // before anything syncs it: it is durable when Restore returns
	r.at = at
	r.checkContents("restored with other metadata")
	if errors.Is(r.Storage().Sync(), contract.ErrVolatile) {
		return
	}
	if m := after.loaded(); !equal(m, given) {
		t.Fatalf("after a power cut behind a restore: metadata %+v, want %+v", m, given)
	}
	after.checkContents("after a power cut behind a restore")
}

// A restore that cannot be finished leaves the former content, and a storage that goes on.
func restoreThatFails(t *testing.T, s Suite) {
	h := newHistory(s, length)
	content, _ := source(t, h)
	gone := errors.New("the other side is gone")
	for name, from := range map[string]io.Reader{
		"broken off at once":        failing{gone},
		"broken off in the middle":  io.MultiReader(bytes.NewReader(content[:len(content)/2]), failing{gone}),
		"broken off before the end": io.MultiReader(bytes.NewReader(content[:len(content)-1]), failing{gone}),
		"empty":                     bytes.NewReader(nil),
		"cut short":                 bytes.NewReader(content[:len(content)/2]),
		"no snapshot":               bytes.NewReader(bytes.Repeat([]byte("not a snapshot "), 1000)),
	} {
		r := behind(t, h)
		if err := r.Storage().Restore(from, h.metadata(1)); err == nil {
			t.Fatalf("%s: Restore returned no error", name)
		}
		r.check(name)
		r.apply(len(h.events), 7)
		r.check(name + ", and applied further")
	}
}

// cutOff is a reader during which the power fails once.
type cutOff struct {
	io.Reader
	at   int
	cut  func()
	read int
}

func (c *cutOff) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p[:min(len(p), max(1, c.at-c.read))])
	if before := c.read; before < c.at && before+n >= c.at {
		c.cut()
	}
	c.read += n
	return n, err
}

// A power cut in the middle of a restore leaves the former content or the new one, whole.
func restoreCutOff(t *testing.T, s Suite) {
	h := newHistory(s, length)
	content, at := source(t, h)
	for _, share := range []int{1, len(content) / 2, len(content)} {
		r := behind(t, h)
		former := r.at
		var after *replica
		reader := &cutOff{
			Reader: bytes.NewReader(content), at: share, cut: func() { after = adopt(t, h, r.Crashed(t), 0) },
		}
		if err := r.Storage().Restore(reader, nil); err != nil {
			t.Fatalf("Restore: %v", err)
		}
		if after == nil {
			t.Fatalf("Restore did not read %d of %d bytes", share, len(content))
		}
		m := after.loaded()
		if m == nil && errors.Is(r.Storage().Sync(), contract.ErrVolatile) {
			continue
		}
		switch {
		case equal(m, h.metadata(former)):
			after.at = former
		case equal(m, h.metadata(at)):
			after.at = at
		default:
			t.Fatalf("after a power cut at byte %d of a restore: metadata %+v, neither the former nor the new", share,
				m)
		}
		after.check("after a power cut in a restore")
		after.apply(len(h.events), 7)
		after.check("after a power cut in a restore, and applied further")
	}
}
