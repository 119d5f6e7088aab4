//go:build unix

package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/durable/atrest"
)

// private says which files and directories below one others may read, and returns how many there are. A node that runs
// removes some meanwhile: what is gone nobody reads.
func private(t *testing.T, dir string) (files int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %04o", path, info.Mode().Perm())
		}
		files++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Files and directories that go while they are looked at are no failure.
func TestWhatIsGoneIsPrivate(t *testing.T) {
	dir, over := t.TempDir(), make(chan struct{})
	var coming sync.WaitGroup
	coming.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			one := filepath.Join(dir, fmt.Sprint(i%8))
			os.Mkdir(one, 0o700)                                 //nolint:errcheck // the walk tells
			os.WriteFile(filepath.Join(one, "file"), nil, 0o600) //nolint:errcheck // likewise
			os.RemoveAll(one)                                    //nolint:errcheck // likewise
		}
	})
	defer coming.Wait()
	defer close(over)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		private(t, dir)
	}
}

// What a node keeps is its user's alone, wherever it is, and whatever the mask of the process was: its data, encrypted
// or not, backups and the archive in a folder, the audit log and the socket that it listens at. Of a directory that was
// made before, others' rights are told.
func TestDataIsItsUsersAlone(t *testing.T) {
	before := syscall.Umask(0o022)
	defer syscall.Umask(before)
	c := testConfig(t, "us-1")
	root, err := os.MkdirTemp("", "mimir") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	c.Replication.DataDir = filepath.Join(root, "data")
	c.Operator.AuditLog = filepath.Join(root, "audit.log")
	c.ListenClient += ",unix://" + filepath.Join(root, "socket")
	backups := t.TempDir()
	if err := os.Chmod(backups, 0o700); err != nil {
		t.Fatal(err)
	}
	c.Backup.To, c.Archive.To = "file://"+filepath.ToSlash(backups), "file://"+filepath.ToSlash(backups)
	c.Archive.Every = time.Second
	key, _ := atrest.NewKey()
	for _, keys := range []string{"", keyFile(t, key)} {
		c.EncryptionKeyFile = keys
		c.complete()
		stop := runNode(t, c)
		client := etcdClient(t, c, TLS{})
		eventually(t, "there is a backup, and some of the archive", func(ctx context.Context) bool {
			client.Put(ctx, "k", "v") //nolint:errcheck // as often as it takes
			taken, _ := filepath.Glob(filepath.Join(backups, "fleet@*", "snapshot@*.mimir"))
			archived, _ := filepath.Glob(filepath.Join(backups, "fleet@*", "log", "*.seg"))
			return len(taken) > 0 && len(archived) > 0
		})
		if _, err := client.HashKV(t.Context(), c.ClientURL(), 0); err != nil { // a line of the audit log
			t.Error(err)
		}
		if files := private(t, root); files < 12 { // while it runs
			t.Errorf("%d files", files)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if files := private(t, root) + private(t, backups); files < 15 {
			t.Errorf("%d files", files)
		}
	}
	if told := readable(c.Replication.DataDir); told != nil {
		t.Errorf("told %q", told)
	}
	if err := os.Chmod(c.Replication.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if told := readable(c.Replication.DataDir); len(told) != 1 || !strings.Contains(told[0], "chmod") {
		t.Errorf("told %q", told)
	}
	secret := filepath.Join(t.TempDir(), "tokens")
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 1} {
		if err := errors.Join(os.WriteFile(secret, nil, mode), os.Chmod(secret, mode)); err != nil {
			t.Fatal(err)
		}
		if told := readableFile("operator.token-file", secret); len(told) != want {
			t.Errorf("mode %04o: told %q", mode, told)
		}
	}
}
