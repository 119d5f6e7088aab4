package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/checksum"
)

// Messages of the propose service, little endian. A request message is the version byte and any number of units; an answer message
// likewise. README.md has the byte tables. Each unit and each answer ends with the CRC-32C of its bytes.
const forwardVersion = 1

// Statuses of an answer.
const (
	answerDone            byte = 0
	answerNotTaken        byte = 1 // certainly not applied; another node may take it
	answerUnknown         byte = 2
	answerTooLarge        byte = 3
	answerUnderReplicated byte = 4
	answerRejected        byte = 5 // certainly not applied, and no other node would take it
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func beginForward(size int) []byte { return append(make([]byte, 0, size), forwardVersion) }

// appendForward appends one unit: id, regions, milliseconds to wait, count, then length and bytes of each command.
func appendForward(b []byte, id uint64, u *unit, now time.Time) []byte {
	start := len(b)
	var wait uint32
	if !u.deadline.IsZero() {
		wait = uint32(min(max(u.deadline.Sub(now).Milliseconds()*9/10, 0), 1<<31))
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

// readForwards calls visit for each unit. Commands alias message.
func readForwards(message []byte, now time.Time, visit func(id uint64, u *unit)) error {
	b, err := checkVersion(message)
	for err == nil && len(b) > 0 {
		var u *unit
		var id uint64
		if id, u, b, err = readForward(b, now); err == nil {
			visit(id, u)
		}
	}
	return err
}

func readForward(b []byte, now time.Time) (uint64, *unit, []byte, error) {
	const fixed = 8 + 1 + 4 + 4
	if len(b) < fixed {
		return 0, nil, nil, fmt.Errorf("%w: unit of %d bytes", ErrMessage, len(b))
	}
	id, wait, count := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[9:]), binary.LittleEndian.Uint32(b[13:])
	u := &unit{regions: int(b[8]), foreign: true}
	if wait > 0 {
		u.deadline = now.Add(time.Duration(wait) * time.Millisecond)
	}
	rest := b[fixed:]
	if uint64(count)*4 > uint64(len(rest)) {
		return 0, nil, nil, fmt.Errorf("%w: %d commands in %d bytes", ErrMessage, count, len(rest))
	}
	u.commands = make([]Command, count)
	for i := range u.commands {
		data, tail, err := readBytes(rest)
		if err != nil {
			return 0, nil, nil, err
		}
		u.commands[i].Data, rest = data, tail
		u.bytes += len(data)
	}
	rest, err := checkSum(b, rest)
	return id, u, rest, err
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
		receipt = &Receipt{}
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

// readAnswers calls visit for each answer. Results alias message.
func readAnswers(message []byte, visit func(id uint64, status byte, r *Receipt, text string)) error {
	b, err := checkVersion(message)
	for err == nil && len(b) > 0 {
		b, err = readAnswer(b, visit)
	}
	return err
}

func readAnswer(b []byte, visit func(id uint64, status byte, r *Receipt, text string)) ([]byte, error) {
	const fixed = 8 + 1 + 8 + 8 + 1 + 4
	if len(b) < fixed {
		return nil, fmt.Errorf("%w: answer of %d bytes", ErrMessage, len(b))
	}
	r := &Receipt{
		Epoch:    Epoch(binary.LittleEndian.Uint64(b[9:])),
		Position: Position(binary.LittleEndian.Uint64(b[17:])),
		Regions:  int(b[25]),
	}
	count, rest := binary.LittleEndian.Uint32(b[26:]), b[fixed:]
	if uint64(count)*4 > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: %d results in %d bytes", ErrMessage, count, len(rest))
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
		return nil, fmt.Errorf("%w: version", ErrMessage)
	}
	return message[1:], nil
}

func readBytes(b []byte) ([]byte, []byte, error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: cut short", ErrMessage)
	}
	n := binary.LittleEndian.Uint32(b)
	if uint64(n) > uint64(len(b)-4) {
		return nil, nil, fmt.Errorf("%w: %d bytes announced, %d left", ErrMessage, n, len(b)-4)
	}
	return b[4 : 4+n : 4+n], b[4+n:], nil
}

// checkSum checks the checksum in front of rest, which is a tail of b, and returns what follows it.
func checkSum(b, rest []byte) ([]byte, error) {
	if len(rest) < 4 {
		return nil, fmt.Errorf("%w: no checksum", ErrMessage)
	}
	body := b[:len(b)-len(rest)]
	if got, want := checksum.Of(body), binary.LittleEndian.Uint32(rest); got != want {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrMessage, got, want)
	}
	return rest[4:], nil
}

func statusOf(err error) (byte, string) {
	switch {
	case err == nil:
		return answerDone, ""
	case errors.Is(err, ErrUnderReplicated): // first: the unit is applied, whatever else the error says
		return answerUnderReplicated, err.Error()
	case errors.Is(err, ErrNotReady), errors.Is(err, ErrNotLeader):
		return answerNotTaken, err.Error()
	case errors.Is(err, ErrTooLarge):
		return answerTooLarge, err.Error()
	case errors.Is(err, ErrArgument), errors.Is(err, ErrUnknownRegion):
		return answerRejected, err.Error()
	default:
		return answerUnknown, err.Error()
	}
}

func resultOf(status byte, r *Receipt, text string) result {
	switch status {
	case answerDone:
		return result{receipt: r}
	case answerTooLarge:
		return result{err: fmt.Errorf("%w: at the leader: %s", ErrTooLarge, text)}
	case answerUnderReplicated:
		return result{receipt: r, err: fmt.Errorf("%w: %s", ErrUnderReplicated, text)}
	case answerRejected:
		return result{err: fmt.Errorf("%w: %s", ErrRejected, text)}
	default:
		return result{err: fmt.Errorf("%w: at the leader: %s", ErrUnknownOutcome, text)}
	}
}
