package stream

import (
	"encoding/binary"
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Every message is version, kind, body, CRC-32C of all before it; little endian. README.md has the tables.
const (
	protocolVersion = 1
	headBytes       = 2
	sumBytes        = 4
)

// kind tells what a message is. The values are on the wire: never renumber.
type kind byte

const (
	kindSubscribe kind = 1 // sink to source, first
	kindAnswer    kind = 2 // source to sink, first
	kindBatch     kind = 3 // source to sink
	kindAck       kind = 4 // sink to source
	kindPing      kind = 5 // sink to source
	kindPong      kind = 6 // source to sink
)

// verdict is the answer to a subscription. The values are on the wire: never renumber.
type verdict byte

const (
	verdictAccept    verdict = 1 // batches follow
	verdictFork      verdict = 2 // position is the last shared one
	verdictBootstrap verdict = 3 // position is the least a subscriber must have
	verdictBehind    verdict = 4 // the source holds less than the subscriber
	verdictRefuse    verdict = 5 // text says why this node is no source now
	verdictChain     verdict = 6 // text names both chains
)

// maxReigns bounds the reigns in one message.
const maxReigns = 1 << 16

// maxFormed bounds the disks with which a region was formed.
const maxFormed = 1 << 10

// subscribe asks for everything after a cursor.
type subscribe struct {
	region string
	at     timeline.Cursor
	window uint64 // bytes that the sink is willing to hold
	reigns []timeline.Reign
	formed map[uint64]string // the disks with which its region was formed; nil: it does not say
}

// answer is a source's verdict.
type answer struct {
	verdict  verdict
	at       timeline.Cursor // of the source
	position timeline.Position
	text     string
	reigns   []timeline.Reign // with verdictFork
}

// ack says what is committed by the subscriber's quorum. The epoch tells whether a reign that moves no position is.
type ack struct {
	epoch    timeline.Epoch
	position timeline.Position
}

// pong answers a ping.
type pong struct {
	token     uint64
	known     bool // committed was asked for after the ping arrived
	committed timeline.Position
	unsent    uint64 // bound of the bytes committed and not sent before this message
}

// begin starts a message in dst, which must be empty.
func begin(dst []byte, k kind) []byte { return append(dst, protocolVersion, byte(k)) }

// finish closes a message.
func finish(m []byte) []byte {
	return binary.LittleEndian.AppendUint32(m, checksum.Of(m))
}

// open checks a message and returns its kind and body.
func open(m []byte) (kind, []byte, error) {
	if len(m) < headBytes+sumBytes {
		return 0, nil, fmt.Errorf("%w: %d bytes", ErrProtocol, len(m))
	}
	body, sum := m[:len(m)-sumBytes], binary.LittleEndian.Uint32(m[len(m)-sumBytes:])
	if got := checksum.Of(body); got != sum {
		return 0, nil, fmt.Errorf("%w: checksum %08x, message says %08x", ErrProtocol, got, sum)
	}
	if m[0] != protocolVersion {
		return 0, nil, fmt.Errorf("%w: version %d, this node knows %d", ErrProtocol, m[0], protocolVersion)
	}
	return kind(m[1]), body[headBytes:], nil
}

func encodeSubscribe(s *subscribe) []byte {
	m := begin(nil, kindSubscribe)
	m = appendText(m, s.region)
	m = appendCursor(m, s.at)
	m = binary.LittleEndian.AppendUint64(m, s.window)
	return finish(appendFormed(appendReigns(m, s.reigns), s.formed))
}

func decodeSubscribe(body []byte) (*subscribe, error) {
	r := fieldReader{rest: body}
	s := &subscribe{region: r.text(), at: r.cursor(), window: r.uint64(), reigns: r.reigns(), formed: r.formed()}
	return s, r.end("subscription")
}

func encodeAnswer(a *answer) []byte {
	m := append(begin(nil, kindAnswer), byte(a.verdict))
	m = appendCursor(m, a.at)
	m = binary.LittleEndian.AppendUint64(m, uint64(a.position))
	m = appendText(m, a.text)
	return finish(appendReigns(m, a.reigns))
}

func decodeAnswer(body []byte) (*answer, error) {
	r := fieldReader{rest: body}
	a := &answer{
		verdict: verdict(r.byte()), at: r.cursor(), position: timeline.Position(r.uint64()), text: r.text(),
		reigns: r.reigns(),
	}
	return a, r.end("answer")
}

func encodeAck(a ack) []byte {
	m := begin(make([]byte, 0, headBytes+16+sumBytes), kindAck)
	m = binary.LittleEndian.AppendUint64(m, uint64(a.epoch))
	return finish(binary.LittleEndian.AppendUint64(m, uint64(a.position)))
}

func decodeAck(body []byte) (ack, error) {
	r := fieldReader{rest: body}
	a := ack{epoch: timeline.Epoch(r.uint64()), position: timeline.Position(r.uint64())}
	return a, r.end("acknowledgement")
}

func encodePing(token uint64) []byte {
	m := begin(make([]byte, 0, headBytes+8+sumBytes), kindPing)
	return finish(binary.LittleEndian.AppendUint64(m, token))
}

func decodePing(body []byte) (uint64, error) {
	r := fieldReader{rest: body}
	token := r.uint64()
	return token, r.end("ping")
}

func encodePong(p pong) []byte {
	var known byte
	if p.known {
		known = 1
	}
	m := append(begin(make([]byte, 0, headBytes+25+sumBytes), kindPong), known)
	m = binary.LittleEndian.AppendUint64(m, p.token)
	m = binary.LittleEndian.AppendUint64(m, uint64(p.committed))
	return finish(binary.LittleEndian.AppendUint64(m, p.unsent))
}

func decodePong(body []byte) (pong, error) {
	r := fieldReader{rest: body}
	known := r.byte()
	p := pong{known: known == 1, token: r.uint64(), committed: timeline.Position(r.uint64()), unsent: r.uint64()}
	if known > 1 {
		r.fail = true
	}
	return p, r.end("pong")
}
