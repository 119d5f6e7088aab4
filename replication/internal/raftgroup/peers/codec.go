package peers

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// Layout, little endian; README.md of raftgroup has the tables.
const (
	messageBytes     = 1 + 1 + 2 + 4 + 5*8
	entryHeaderBytes = 8 + 8 + 1 + 4

	flagReject = 1
)

// onWire are the kinds of messages that a peer may send. Everything else is local to a node, or travels in another way.
var onWire = [...]bool{
	raftpb.MsgApp: true, raftpb.MsgAppResp: true, raftpb.MsgVote: true, raftpb.MsgVoteResp: true,
	raftpb.MsgPreVote: true, raftpb.MsgPreVoteResp: true, raftpb.MsgHeartbeat: true, raftpb.MsgHeartbeatResp: true,
	raftpb.MsgReadIndex: true, raftpb.MsgReadIndexResp: true, raftpb.MsgTimeoutNow: true,
}

// encodedBytes returns the size of m in an envelope.
func encodedBytes(m *raftpb.Message) int {
	n := messageBytes + len(m.GetContext())
	for _, e := range m.GetEntries() {
		n += entryHeaderBytes + len(e.GetData())
	}
	return n
}

// encodeMessages returns one envelope with all messages. It reads them only: raft may still use their entries.
func encodeMessages(messages []*raftpb.Message) []byte {
	size := 0
	for _, m := range messages {
		size += encodedBytes(m)
	}
	p := NewEnvelope(size)
	for _, m := range messages {
		p = appendMessage(p, m)
	}
	return Seal(p)
}

func appendMessage(p []byte, m *raftpb.Message) []byte {
	var flags byte
	if m.GetReject() {
		flags |= flagReject
	}
	p = append(p, byte(m.GetType()), flags)
	p = binary.LittleEndian.AppendUint16(p, uint16(len(m.GetContext())))
	p = binary.LittleEndian.AppendUint32(p, uint32(len(m.GetEntries())))
	for _, v := range [...]uint64{m.GetTerm(), m.GetLogTerm(), m.GetIndex(), m.GetCommit(), m.GetRejectHint()} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	p = append(p, m.GetContext()...)
	for _, e := range m.GetEntries() {
		p = binary.LittleEndian.AppendUint64(p, e.GetTerm())
		p = binary.LittleEndian.AppendUint64(p, e.GetIndex())
		p = append(p, byte(e.GetType()))
		p = binary.LittleEndian.AppendUint32(p, uint32(len(e.GetData())))
		p = append(p, e.GetData()...)
	}
	return p
}

// decodeMessages reads an envelope of messages that from sent to to; ErrFormat if it is anything else. What it returns
// aliases p, which must not change any more: entries are kept in the log's cache as they came.
func decodeMessages(p []byte, from, to uint64) ([]*raftpb.Message, error) {
	body, err := Unseal(p)
	if err != nil {
		return nil, err
	}
	messages := make([]*raftpb.Message, 0, 8)
	for len(body) > 0 {
		var m *raftpb.Message
		if m, body, err = decodeMessage(body, from, to); err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// messageBlock holds a message with what its pointers point to, so that it is one allocation.
type messageBlock struct {
	message                                raftpb.Message
	kind                                   raftpb.MessageType
	to, from                               uint64
	term, logTerm, index, commit, rejected uint64
	reject                                 bool
}

func decodeMessage(p []byte, from, to uint64) (*raftpb.Message, []byte, error) {
	if len(p) < messageBytes {
		return nil, nil, fmt.Errorf("%w: message of %d bytes", ErrFormat, len(p))
	}
	if int(p[0]) >= len(onWire) || !onWire[p[0]] || p[1]&^flagReject != 0 {
		return nil, nil, fmt.Errorf("%w: message of type %d, flags %#x", ErrFormat, p[0], p[1])
	}
	b := &messageBlock{kind: raftpb.MessageType(p[0]), to: to, from: from, reject: p[1]&flagReject != 0}
	contextBytes, entries := int(binary.LittleEndian.Uint16(p[2:])), int(binary.LittleEndian.Uint32(p[4:]))
	for i, v := range [...]*uint64{&b.term, &b.logTerm, &b.index, &b.commit, &b.rejected} {
		*v = binary.LittleEndian.Uint64(p[8+8*i:])
	}
	p = p[messageBytes:]
	if contextBytes > len(p) || entries > (len(p)-contextBytes)/entryHeaderBytes {
		return nil, nil, fmt.Errorf("%w: context of %d bytes and %d entries in %d bytes",
			ErrFormat, contextBytes, entries, len(p))
	}
	m := &b.message
	m.Type, m.To, m.From, m.Term, m.LogTerm, m.Index = &b.kind, &b.to, &b.from, &b.term, &b.logTerm, &b.index
	m.Commit, m.RejectHint, m.Reject = &b.commit, &b.rejected, &b.reject
	if contextBytes > 0 {
		m.Context = p[:contextBytes:contextBytes]
	}
	var err error
	m.Entries, p, err = decodeEntries(p[contextBytes:], entries)
	return m, p, err
}

// entryBlock holds an entry with what its pointers point to.
type entryBlock struct {
	entry       raftpb.Entry
	term, index uint64
	kind        raftpb.EntryType
}

func decodeEntries(p []byte, count int) ([]*raftpb.Entry, []byte, error) {
	if count == 0 {
		return nil, p, nil
	}
	blocks := make([]entryBlock, count)
	entries := make([]*raftpb.Entry, count)
	for i := range blocks {
		if len(p) < entryHeaderBytes {
			return nil, nil, fmt.Errorf("%w: entry cut short", ErrFormat)
		}
		b := &blocks[i]
		b.term, b.index = binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
		b.kind = raftpb.EntryType(p[16])
		n := int(binary.LittleEndian.Uint32(p[17:]))
		p = p[entryHeaderBytes:]
		if n > len(p) || b.kind > raftpb.EntryConfChangeV2 {
			return nil, nil, fmt.Errorf("%w: entry of type %d with %d bytes, %d left", ErrFormat, b.kind, n, len(p))
		}
		e := &b.entry
		e.Term, e.Index, e.Type = &b.term, &b.index, &b.kind
		if n > 0 {
			e.Data = p[:n:n]
		}
		entries[i], p = e, p[n:]
	}
	return entries, p, nil
}
