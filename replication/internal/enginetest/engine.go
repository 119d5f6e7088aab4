package enginetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
)

// Content is what an engine holds.
type Content struct {
	Commands []string
	Reigns   []contract.Reign
	Meta     *contract.Metadata
}

// Engine is a contract.Storage. It is safe for concurrent use.
type Engine struct {
	// Writing, if not nil, is called before a view is written out, on the goroutine that does it. It is set before the
	// engine is used.
	Writing func()

	fs   durable.FS
	path string // "" if nothing is kept

	mu      sync.Mutex
	content Content
	views   int
}

// Volatile returns an empty engine that keeps nothing on disk.
func Volatile() *Engine { return &Engine{} }

// Open returns an engine that keeps what was synced in the file path.
func Open(fs durable.FS, path string) (*Engine, error) {
	e := &Engine{fs: fs, path: path}
	c, err := read(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return e, nil
	}
	e.content = c
	return e, err
}

func read(fs durable.FS, path string) (c Content, err error) {
	p, err := durable.ReadFile(fs, path)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(p, &c)
}

func write(fs durable.FS, path string, c Content) error {
	return durable.WriteFile(fs, path, func(w io.Writer) error { return json.NewEncoder(w).Encode(c) })
}

// Content returns what the engine holds.
func (e *Engine) Content() Content {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.shared()
}

// shared returns the content as it is now and stays. The caller holds mu.
func (e *Engine) shared() Content {
	c := e.content
	c.Commands, c.Reigns = slices.Clip(c.Commands), slices.Clip(c.Reigns)
	return c
}

// Load implements contract.Storage.
func (e *Engine) Load() (*contract.Metadata, error) { return e.Content().Meta, nil }

// Apply implements contract.Storage. It refuses what does not continue the history.
func (e *Engine) Apply(b *contract.Batch) ([][]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var results [][]byte
	for i, c := range b.Commands {
		if at := int(b.First) + i; at != len(e.content.Commands)+1 {
			return nil, fmt.Errorf("position %d after %d commands", at, len(e.content.Commands))
		}
		e.content.Commands = append(e.content.Commands, string(c.Data))
		results = append(results, []byte("did "+string(c.Data)))
	}
	e.content.Meta = b.Metadata
	if !b.WantResults {
		results = nil
	}
	return results, nil
}

// Begin implements contract.Storage.
func (e *Engine) Begin(r contract.Reign, meta *contract.Metadata) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.content.Reigns, e.content.Meta = append(e.content.Reigns, r), meta
	return nil
}

// Sync implements contract.Storage.
func (e *Engine) Sync() error {
	if e.path == "" {
		return contract.ErrVolatile
	}
	return write(e.fs, e.path, e.Content())
}

// Snapshot implements contract.Storage.
func (e *Engine) Snapshot() (contract.Snapshot, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.views++
	return &view{engine: e, content: e.shared()}, nil
}

// Restore implements contract.Storage. It fails while a view is open.
func (e *Engine) Restore(r io.Reader, meta *contract.Metadata) error {
	var c Content
	if err := json.NewDecoder(r).Decode(&c); err != nil {
		return err
	}
	return e.replace(c, meta)
}

func (e *Engine) replace(c Content, meta *contract.Metadata) error {
	if meta != nil {
		c.Meta = meta
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.views > 0 {
		return fmt.Errorf("%d views are open while the content is replaced", e.views)
	}
	if e.path != "" {
		if err := write(e.fs, e.path, c); err != nil {
			return err
		}
	}
	e.content = c
	return nil
}

// Views returns how many views are open.
func (e *Engine) Views() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.views
}

type view struct {
	engine  *Engine
	content Content
	used    bool
}

func (v *view) WriteTo(w io.Writer) (int64, error) {
	if v.used {
		return 0, errors.New("a view is written twice, or after its end")
	}
	v.used = true
	if v.engine.Writing != nil {
		v.engine.Writing()
	}
	p, err := json.Marshal(v.content)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(p)
	return int64(n), err
}

func (v *view) Close() error {
	v.used = true
	v.engine.mu.Lock()
	defer v.engine.mu.Unlock()
	v.engine.views--
	return nil
}

// Files is an Engine that makes and takes whole states as files.
type Files struct{ *Engine }

// fileName is what the one file of a view is called as well, so that every engine here takes the states of every other.
const fileName = "stream"

// Checkpoint implements contract.Checkpointer.
func (f Files) Checkpoint(dir string) error {
	if err := durable.MakeDir(f.fs, dir); err != nil {
		return err
	}
	return write(f.fs, filepath.Join(dir, fileName), f.Content())
}

// Install implements contract.Checkpointer.
func (f Files) Install(dir string, meta *contract.Metadata) error {
	c, err := read(f.fs, filepath.Join(dir, fileName))
	var invalid *json.SyntaxError
	var other *json.UnmarshalTypeError
	if errors.Is(err, os.ErrNotExist) || errors.As(err, &invalid) || errors.As(err, &other) {
		return fmt.Errorf("%w: %w", contract.ErrDamaged, err)
	} else if err != nil {
		return err
	}
	return f.replace(c, meta)
}

// Branch implements contract.Brancher.
func (f Files) Branch(dir string) (contract.Branch, error) {
	c, err := read(f.fs, filepath.Join(dir, fileName))
	if err != nil {
		return nil, err
	}
	return side{Files{&Engine{fs: f.fs, content: c}}}, nil
}

// side is a branch.
type side struct{ Files }

// Close implements contract.Branch.
func (side) Close() error { return nil }
