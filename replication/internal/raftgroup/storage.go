package raftgroup

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/mimir-kv/mimir/replication/internal/wal"
)

// storage is the log as raft reads it, on the loop. The writer changes the log meanwhile; raft never asks for what it
// has not been told to be there.
type storage struct {
	log       *wal.Log
	initial   recovered
	snapshots snapshotter
}

// snapshotter names the snapshot to be sent, or says that there is none yet.
type snapshotter interface {
	Snapshot() (*raftpb.Snapshot, error)
}

var _ raft.Storage = (*storage)(nil)

func (s *storage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return s.initial.hard, s.initial.conf, nil
}

func (s *storage) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	return s.log.Entries(lo, hi, maxSize)
}

func (s *storage) Term(i uint64) (uint64, error)       { return s.log.Term(i) }
func (s *storage) LastIndex() (uint64, error)          { return s.log.LastIndex(), nil }
func (s *storage) FirstIndex() (uint64, error)         { return s.log.FirstIndex(), nil }
func (s *storage) Snapshot() (*raftpb.Snapshot, error) { return s.snapshots.Snapshot() }
