package server

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/kv"
	"github.com/mimir-kv/mimir/kv/command"
	"github.com/mimir-kv/mimir/replication"
)

// A node that is known to differ takes no backup, and one that turns out to while it goes out has no end.
func TestANodeThatDiffersTakesNoBackup(t *testing.T) {
	store, err := kv.Open(kv.Options{FS: vfs.NewMem(), Dir: "kv"})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	e := &equality{store: store, member: 7}
	whole, err := kv.CopyOf(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &content{
		backup.NewRewind(t.Context(), func(w io.Writer) error { return backup.Write(w, whole) }), whole, e.differs,
	}
	text, err := io.ReadAll(c)
	if err != nil || !backup.Fits(int64(len(text))) {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	raised := command.EncodeAlarm(&pb.AlarmRequest{
		Action: pb.AlarmRequest_ACTIVATE, Alarm: command.AlarmDiffers, MemberID: e.member,
	})
	_, err = store.Apply(&replication.Batch{
		Epoch: 1, First: 1, Commands: []replication.Command{{Data: raised}},
		Metadata: &replication.Metadata{AppliedIndex: 1, Epoch: 1, Position: 1},
	})
	if _, back := c.Seek(0, io.SeekStart); err != nil || back != nil {
		t.Fatal(err, back)
	}
	if _, err := io.ReadAll(c); !errors.Is(err, errUnsound) {
		t.Errorf("found out meanwhile: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := (&server{equality: e}).content(t.Context(), time.Hour, nil); !errors.Is(err, errUnsound) {
		t.Errorf("found out before: %v", err)
	}
}
