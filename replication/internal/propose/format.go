package propose

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/checksum"
	"github.com/mimir-kv/mimir/replication/internal/peer"
)

// Messages of the propose service, little endian. A request message is the version byte and any number of proposals;
// an answer message likewise. README.md of package replication has the byte tables. Each of them ends with
// the CRC-32C of its bytes.
const forwardVersion = 1

// Versions of a message that is a part of an answer message. After the version byte comes the part; the parts together
// are the answer message, its own version byte first. ServiceWhole has none.
const (
	partVersion     byte = 2 // more follow
	lastPartVersion byte = 3

	maxPartBytes = 4 << 20
	// maxAnswerBytes bounds an answer that travels in parts.
	maxAnswerBytes = 1<<31 - 1
)

// parts puts answer messages together.
type parts struct{ whole []byte }

// add returns the message that is complete with m; nil if more follows.
func (w *parts) add(m []byte) ([]byte, error) {
	if len(m) == 0 || m[0] != partVersion && m[0] != lastPartVersion {
		if w.whole != nil {
			return nil, fmt.Errorf("%w: a message between parts of another", contract.ErrMessage)
		}
		return m, nil
	}
	if w.whole = append(w.whole, m[1:]...); len(w.whole) > maxAnswerBytes {
		return nil, fmt.Errorf("%w: an answer of more than %d bytes", contract.ErrMessage, maxAnswerBytes)
	}
	if m[0] == partVersion {
		return nil, nil
	}
	whole := w.whole
	w.whole = nil
	return whole, nil
}

// Statuses of an answer.
const (
	answerDone            byte = 0
	answerNotTaken        byte = 1 // certainly not applied; another node may take it
	answerUnknown         byte = 2
	answerTooLarge        byte = 3
	answerUnderReplicated byte = 4
	answerRejected        byte = 5 // certainly not applied, and no other node would take it
	answerLagging         byte = 6 // certainly not applied; a version that does not know it takes it for answerUnknown
)

func beginForward(size int) []byte { return append(make([]byte, 0, size), forwardVersion) }

// appendForward appends one proposal: id, regions, milliseconds to wait, count, then length and bytes of each command.
func appendForward(b []byte, id uint64, u *proposal, now time.Time) []byte {
	start := len(b)
	var wait uint32
	if !u.deadline.IsZero() {
		wait = uint32(min(max(u.deadline.Sub(now).Milliseconds()*9/10, 1), 1<<31)) // 0 would be no bound
	}
	b = binary.LittleEndian.AppendUint64(b, id)
	b = append(b, byte(u.regions))
	b = binary.LittleEndian.AppendUint32(b, wait)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(u.commands)))
	for i := range u.commands {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(u.commands[i].Data)))
		b = append(b, u.commands[i].Data...)
	}
	return binary.LittleEndian.AppendUint32(b, checksum.Of(b[start:]))
}

// readForwards calls visit for each proposal, whose result goes to out. Commands alias message.
func readForwards(message []byte, now time.Time, out *answers, visit func(*proposal)) error {
	b, err := checkVersion(message)
	for err == nil && len(b) > 0 {
		var u *proposal
		if u, b, err = readForward(b, now, out); err == nil {
			visit(u)
		}
	}
	return err
}

func readForward(b []byte, now time.Time, out *answers) (*proposal, []byte, error) {
	const fixed = 8 + 1 + 4 + 4
	if len(b) < fixed {
		return nil, nil, fmt.Errorf("%w: proposal of %d bytes", contract.ErrMessage, len(b))
	}
	id := binary.LittleEndian.Uint64(b)
	wait, count := binary.LittleEndian.Uint32(b[9:]), binary.LittleEndian.Uint32(b[13:])
	u := out.proposal(id, int(b[8]))
	if wait > 0 {
		u.deadline = now.Add(time.Duration(wait) * time.Millisecond)
	}
	rest := b[fixed:]
	if uint64(count)*4 > uint64(len(rest)) {
		u.trace.end(contract.ErrMessage)
		return nil, nil, fmt.Errorf("%w: %d commands in %d bytes", contract.ErrMessage, count, len(rest))
	}
	u.commands = make([]contract.Command, count)
	for i := range u.commands {
		data, tail, err := readBytes(rest)
		if err != nil {
			u.trace.end(err)
			return nil, nil, err
		}
		u.commands[i].Data, rest = data, tail
		u.bytes += len(data)
	}
	rest, err := checkSum(b, rest)
	if err != nil {
		u.trace.end(err)
		return nil, nil, err
	}
	out.open(id, u)
	return u, rest, nil
}

// appendAnswer appends one answer: id, status, epoch, position, regions, count, results, text.
func appendAnswer(b []byte, id uint64, r result) []byte {
	if len(b) == 0 {
		b = append(b, forwardVersion)
	}
	start := len(b)
	status, text := statusOf(r.err)
	receipt := r.receipt
	if receipt == nil {
		receipt = &contract.Receipt{}
	}
	b = binary.LittleEndian.AppendUint64(b, id)
	b = append(b, status)
	b = binary.LittleEndian.AppendUint64(b, uint64(receipt.Epoch))
	b = binary.LittleEndian.AppendUint64(b, uint64(receipt.Position))
	b = append(b, byte(receipt.Regions))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(receipt.Results)))
	for _, p := range receipt.Results {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = append(b, text...)
	return binary.LittleEndian.AppendUint32(b, checksum.Of(b[start:]))
}

// answerBytes returns how long an answer is, with the byte that begins a message.
func answerBytes(r result) int {
	n := 1 + 8 + 1 + 8 + 8 + 1 + 4 + 4 + 4
	if r.err != nil {
		n += len(r.err.Error())
	}
	if r.receipt != nil {
		for _, p := range r.receipt.Results {
			n += 4 + len(p)
		}
	}
	return n
}

// readAnswers calls visit for each answer. Results alias message.
func readAnswers(message []byte, visit func(id uint64, status byte, r *contract.Receipt, text string)) error {
	b, err := checkVersion(message)
	for err == nil && len(b) > 0 {
		b, err = readAnswer(b, visit)
	}
	return err
}

func readAnswer(b []byte, visit func(id uint64, status byte, r *contract.Receipt, text string)) ([]byte, error) {
	const fixed = 8 + 1 + 8 + 8 + 1 + 4
	if len(b) < fixed {
		return nil, fmt.Errorf("%w: answer of %d bytes", contract.ErrMessage, len(b))
	}
	r := &contract.Receipt{
		Epoch:    contract.Epoch(binary.LittleEndian.Uint64(b[9:])),
		Position: contract.Position(binary.LittleEndian.Uint64(b[17:])),
		Regions:  int(b[25]),
	}
	count, rest := binary.LittleEndian.Uint32(b[26:]), b[fixed:]
	if uint64(count)*4 > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: %d results in %d bytes", contract.ErrMessage, count, len(rest))
	}
	var err error
	if count > 0 {
		r.Results = make([][]byte, count)
		for i := range r.Results {
			if r.Results[i], rest, err = readBytes(rest); err != nil {
				return nil, err
			}
		}
	}
	text, rest, err := readBytes(rest)
	if err != nil {
		return nil, err
	}
	if rest, err = checkSum(b, rest); err != nil {
		return nil, err
	}
	visit(binary.LittleEndian.Uint64(b), b[8], r, string(text))
	return rest, nil
}

func checkVersion(message []byte) ([]byte, error) {
	if len(message) == 0 || message[0] != forwardVersion {
		return nil, fmt.Errorf("%w: version", contract.ErrMessage)
	}
	return message[1:], nil
}

func readBytes(b []byte) ([]byte, []byte, error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: cut short", contract.ErrMessage)
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, fmt.Errorf("%w: %d bytes announced, %d left", contract.ErrMessage, n, len(b)-4)
	}
	return b[4 : 4+n : 4+n], b[4+n:], nil
}

// checkSum checks the checksum in front of rest, which is a tail of b, and returns what follows it.
func checkSum(b, rest []byte) ([]byte, error) {
	if len(rest) < 4 {
		return nil, fmt.Errorf("%w: no checksum", contract.ErrMessage)
	}
	body := b[:len(b)-len(rest)]
	if got, want := checksum.Of(body), binary.LittleEndian.Uint32(rest); got != want {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", contract.ErrMessage, got, want)
	}
	return rest[4:], nil
}

// statusOf says how err travels: by its kind, of which there is one however it is wrapped, so that what nobody knows
// is never taken for what was not done.
func statusOf(err error) (byte, string) {
	if err == nil {
		return answerDone, ""
	}
	status := answerUnknown
	switch peer.Kind(err) {
	case contract.ErrUnderReplicated:
		status = answerUnderReplicated
	case contract.ErrNotReady, contract.ErrNotLeader:
		status = answerNotTaken
	case contract.ErrTooLarge:
		status = answerTooLarge
	case contract.ErrRejected, contract.ErrArgument, contract.ErrUnknownRegion:
		status = answerRejected
	case contract.ErrLagging:
		status = answerLagging
	}
	return status, err.Error()
}

// resultOf is the inverse of statusOf, for whoever has forwarded a proposal.
func resultOf(status byte, r *contract.Receipt, text string) result {
	switch status {
	case answerDone:
		return result{receipt: r}
	case answerNotTaken:
		return result{err: fmt.Errorf("%w: at the leader: %s", contract.ErrNotReady, text)}
	case answerTooLarge:
		return result{err: fmt.Errorf("%w: at the leader: %s", contract.ErrTooLarge, text)}
	case answerUnderReplicated:
		return result{receipt: r, err: again(contract.ErrUnderReplicated, text)}
	case answerLagging:
		return result{err: again(contract.ErrLagging, text)}
	case answerRejected:
		return result{err: again(contract.ErrRejected, text)}
	default:
		return result{err: fmt.Errorf("%w: at the leader: %s", contract.ErrUnknownOutcome, text)}
	}
}

// again returns an error of a kind whose text may begin with that of the kind.
func again(kind error, text string) error {
	return fmt.Errorf("%w: %s", kind, strings.TrimPrefix(text, kind.Error()+": "))
}
