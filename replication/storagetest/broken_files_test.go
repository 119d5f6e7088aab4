package storagetest_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
	"github.com/mimir-kv/mimir/replication/storagetest"
)

// mistakesOfFiles are those of an engine that makes and takes checkpoints.
var mistakesOfFiles = map[string]string{
	"none, as files":                    "",
	"a checkpoint is not synced":        "Checkpoint",
	"a checkpoint goes on":              "SyncBeside",
	"a checkpoint is of another place":  "Checkpoint",
	"a sync trusts a failed checkpoint": "Checkpoint",
	"a checkpoint swallows its failure": "Checkpoint",
	"an install is not durable":         "Checkpoint",
	"an install adds":                   "Checkpoint",
	"an install keeps its metadata":     "Checkpoint",
	"an install takes the checkpoint":   "Checkpoint",
	"an install clears first":           "InstallCutOff",
	"an install that fails clears":      "InstallThatFails",
	"an install has no word for damage": "InstallThatFails",
	"an install has none for loss":      "Checkpoint",
	"everything is damaged":             "Verify",
	"every file is damaged":             "Verify",
	"nothing is damaged":                "Verify",
	"a look has no word for damage":     "Verify",
	"a look writes":                     "Verify",
	"a branch changes its checkpoint":   "Branch",
	"a branch is the state":             "Branch",
}

// TestMistakesOfFilesAreSeen is TestMistakesAreSeen of an engine that makes and takes checkpoints.
func TestMistakesOfFilesAreSeen(t *testing.T) { seen(t, mistakesOfFiles) }

// shelf is a list that makes and takes checkpoints: its content, and beside it the sum of that.
type shelf struct {
	*list
	disk *vfs.MemFS
	dirs int
	last string // the checkpoint that was made last, or that this is a branch of

	failed atomic.Bool // that one, which a Sync beside it looks at
}

func newShelf(mistake string) *shelf {
	return &shelf{list: newList(mistake, nil), disk: vfs.NewCrashableMem()}
}

func (s *shelf) Storage() contract.Storage { return s }
func (s *shelf) FS() durable.FS            { return pebblefs.New(s.disk) }

func (s *shelf) NewDir() string {
	s.dirs++
	return fmt.Sprintf("/checkpoint-%d", s.dirs)
}

func (s *shelf) Crashed(testing.TB) storagetest.Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came++
	return &shelf{list: newList(s.mistake, &s.synced), disk: s.disk.CrashClone(vfs.CrashCloneCfg{})}
}

// The files of a checkpoint.
const (
	contentName = "content"
	sumName     = "sums/content"
)

// put makes the checkpoint in dir of a content.
func (s *shelf) put(dir string, c content) error {
	p, err := json.Marshal(c)
	if err != nil {
		return err
	}
	write := durable.WriteFile
	if s.mistake == "a checkpoint is not synced" {
		write = carelessly
	}
	sum := sha256.Sum256(p)
	err = durable.MakeDir(s.FS(), filepath.Join(dir, filepath.Dir(sumName)))
	for name, content := range map[string][]byte{contentName: p, sumName: sum[:]} {
		if err == nil {
			err = write(s.FS(), filepath.Join(dir, name), func(w io.Writer) error {
				_, err := w.Write(append([]byte(nil), content...))
				return err
			})
		}
	}
	return err
}

// carelessly is durable.WriteFile without a sync.
func carelessly(fs durable.FS, path string, fill func(io.Writer) error) error {
	f, err := fs.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}

// get reads the checkpoint in dir.
func (s *shelf) get(dir string) (c content, err error) {
	p, err := durable.ReadFile(s.FS(), filepath.Join(dir, contentName))
	var sum []byte
	if err == nil {
		sum, err = durable.ReadFile(s.FS(), filepath.Join(dir, sumName))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("%w: %w", contract.ErrDamaged, err)
	} else if err != nil {
		return c, err
	}
	if is := sha256.Sum256(p); string(is[:]) != string(sum) {
		return c, fmt.Errorf("%w: another sum", contract.ErrDamaged)
	}
	return c, json.Unmarshal(p, &c)
}

func (s *shelf) content() content {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now.clone()
}

func (s *shelf) Checkpoint(dir string) error {
	c := s.content()
	if s.mistake == "a checkpoint is of another place" && len(c.Items) > 0 {
		c.Items = c.Items[1:]
	}
	s.last = dir
	err := s.put(dir, c)
	s.failed.Store(err != nil)
	if s.mistake == "a checkpoint swallows its failure" {
		return nil
	}
	return err
}

// Sync is none behind a checkpoint that failed, for whoever makes a mistake of that.
func (s *shelf) Sync() error {
	if s.failed.Load() && s.mistake == "a sync trusts a failed checkpoint" {
		return nil
	}
	return s.list.Sync()
}

// Apply has the checkpoint that was made last go on, for whoever makes a mistake of that.
func (s *shelf) Apply(b *contract.Batch) ([][]byte, error) {
	results, err := s.list.Apply(b)
	if s.last != "" && (s.mistake == "a checkpoint goes on" || s.mistake == "branch of a checkpoint") {
		err = errors.Join(err, s.put(s.last, s.content()))
	}
	return results, err
}

func (s *shelf) Install(dir string, m *contract.Metadata) error {
	c, err := s.get(dir)
	if err != nil {
		_, gone := s.FS().Stat(dir)
		switch s.mistake {
		case "an install has none for loss":
			if gone != nil {
				return gone
			}
		case "an install that fails clears":
			s.step(func(c *content) { *c = content{} })
		case "an install has no word for damage":
			return errors.New("not what it was")
		}
		return err
	}
	if m != nil && s.mistake != "an install keeps its metadata" {
		c.Meta = m
	}
	if s.mistake == "an install clears first" {
		s.step(func(c *content) { *c = content{} })
		s.rest()
	}
	s.mu.Lock()
	if s.mistake == "an install adds" {
		c.Items = append(s.now.Items, c.Items...)
	}
	if s.now = c.clone(); s.mistake != "an install is not durable" {
		s.synced = c.clone()
	}
	s.mu.Unlock()
	if s.mistake == "an install takes the checkpoint" {
		return s.FS().RemoveAll(dir)
	}
	return nil
}

func (s *shelf) VerifyFile(dir, name string) error {
	if s.mistake == "every file is damaged" {
		return contract.ErrDamaged
	}
	return nil
}

func (s *shelf) Verify(dir string) error {
	switch s.mistake {
	case "everything is damaged":
		return contract.ErrDamaged
	case "nothing is damaged":
		return nil
	case "a look writes":
		if err := s.put(filepath.Join(dir, "looked"), content{}); err != nil {
			return err
		}
	}
	_, err := s.get(dir)
	if err != nil && s.mistake == "a look has no word for damage" {
		return errors.New("not what it was")
	}
	return err
}

func (s *shelf) Branch(dir string) (contract.Branch, error) {
	c, err := s.get(dir)
	if err != nil {
		return nil, err
	}
	switch s.mistake {
	case "a branch is the state":
		return s, nil
	case "a branch changes its checkpoint":
		return &shelf{list: newList("branch of a checkpoint", &c), disk: s.disk, last: dir}, nil
	}
	return &shelf{list: newList(s.mistake, &c), disk: s.disk}, nil
}
