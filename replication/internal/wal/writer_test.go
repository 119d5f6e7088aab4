package wal

import (
	"bytes"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/pebblefs"
)

// nearlyFull is a filesystem that has room for records, and none for what is written ahead of them.
type nearlyFull struct{ durable.FS }

func (f nearlyFull) OpenReadWrite(name string) (durable.File, error) {
	file, err := f.FS.OpenReadWrite(name)
	return nearlyFullFile{file}, err
}

type nearlyFullFile struct{ durable.File }

func (f nearlyFullFile) WriteAt(p []byte, at int64) (int, error) {
	if at > 0 && bytes.Equal(p, make([]byte, len(p))) {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(p, at)
}

// The log takes what there is room for: that nothing can be laid out ahead of its records is no reason to fail.
func TestRecordsNeedNoRoomAheadOfThem(t *testing.T) {
	disk := vfs.NewMem()
	l := openLog(t, nil, on(nearlyFull{pebblefs.New(disk)}))
	for i := range uint64(100) { // several segments
		mustAppend(t, l, Write{Entries: []*raftpb.Entry{entry(i+1, 1, frame(1, i+1, 1, 1000))}})
	}
	want := holds(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again := openLog(t, disk)
	if got := holds(t, again); got.last() != want.last() || got.last() != 100 {
		t.Errorf("ends at %d, want %d", got.last(), want.last())
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
