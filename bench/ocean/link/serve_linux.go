package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"
)

// asked is the variable by which Open asks a process of its own program to be the line. A process that also makes load
// stops for its garbage while packets are due.
const asked = "MIMIR_BENCH_LINE"

// What Open leaves open in that process.
const (
	nearFile = 3
	farFile  = 4
)

// opening is the first thing that the line is told.
type opening struct {
	Conditions Conditions
	Seed       uint64
}

// Serve is the line, if Open asked this process to be one, and does not return then. Programs that call Open, tests
// too, call Serve first.
func Serve() {
	if os.Getenv(asked) == "" {
		return
	}
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "the line:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// memory bounds what waits, and what is not collected.
const memory = 256 << 20

func serve(in io.Reader, out io.Writer) error {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memory)
	runtime.GOMAXPROCS(4)
	var first opening
	from, to := json.NewDecoder(in), json.NewEncoder(out)
	if err := from.Decode(&first); err != nil {
		return fmt.Errorf("read what to be: %w", err)
	}
	for _, fd := range []int{nearFile, farFile} {
		if err := unix.SetNonblock(fd, true); err != nil {
			return fmt.Errorf("open a TUN device: %w", err)
		}
	}
	both := []*direction{
		newDirection(newQueue(first.Conditions, first.Seed), nearFile, farFile),
		newDirection(newQueue(first.Conditions, first.Seed+1), farFile, nearFile),
	}
	ended := make(chan error, len(both)+1)
	for _, d := range both {
		go func() { ended <- d.run() }()
	}
	go func() {
		for {
			var r request
			if err := from.Decode(&r); err != nil { // who opened the line has closed it
				ended <- nil
				return
			}
			if err := to.Encode(obey(both, &r)); err != nil {
				ended <- err
				return
			}
		}
	}()
	return <-ended
}

func obey(both []*direction, r *request) Stats {
	for _, d := range both {
		d.mutex.Lock()
		if r.Set != nil {
			d.queue.Conditions = *r.Set
		}
		if r.Cut != nil {
			d.queue.sever(*r.Cut)
		}
		d.mutex.Unlock()
	}
	return stats(both[0], both[1])
}

// line is the process, as Open sees it.
type line struct {
	mutex   sync.Mutex
	process *exec.Cmd
	in      io.WriteCloser
	to      *json.Encoder
	from    *json.Decoder
}

// Open makes two namespaces and the line between them, a process of this program (Serve). Addresses are those of each
// end. Which packets are lost is said by seed.
func Open(c Conditions, seed uint64, nearAddrs, farAddrs []string) (l *Link, err error) {
	if err := available(); err != nil {
		return nil, err
	}
	l = &Link{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
			l = nil
		}
	}()
	if l.Near, err = openNamespace(nearAddrs, farAddrs); err != nil {
		return l, err
	}
	if l.Far, err = openNamespace(farAddrs, nearAddrs); err != nil {
		return l, err
	}
	program, err := os.Executable()
	if err != nil {
		return l, fmt.Errorf("find this program: %w", err)
	}
	p := exec.Command(program)
	p.Env, p.Stderr = append(os.Environ(), asked+"=1"), os.Stderr
	p.ExtraFiles = []*os.File{l.Near.tun, l.Far.tun}
	in, err := p.StdinPipe()
	if err != nil {
		return l, err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return l, err
	}
	if err := l.Near.Start(p); err != nil {
		return l, fmt.Errorf("start the line: %w", err)
	}
	l.process, l.in, l.to, l.from = p, in, json.NewEncoder(in), json.NewDecoder(out)
	if err := l.to.Encode(opening{c, seed}); err != nil {
		return l, fmt.Errorf("open the line: %w", err)
	}
	_, err = l.ask(request{})
	return l, err
}

// ask tells the line something.
func (l *Link) ask(r request) (s Stats, err error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err = l.to.Encode(r); err == nil {
		err = l.from.Decode(&s)
	}
	if err != nil {
		return s, fmt.Errorf("the line is gone: %w", err)
	}
	return s, nil
}

// Close ends the line. The namespaces end with what was begun in them.
func (l *Link) Close() (err error) {
	if l.process != nil {
		err = errors.Join(l.in.Close(), l.process.Wait())
	}
	for _, n := range []*Namespace{l.Near, l.Far} {
		if n != nil {
			err = errors.Join(err, n.close())
		}
	}
	return err
}
