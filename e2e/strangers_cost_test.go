package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

var (
	costTime   = flag.Duration("cost", 0, "how long each part of TestStrangersCost takes; default: it is left out")
	costRounds = flag.Int("cost-rounds", 5, "rounds of TestStrangersCost, each without the strangers and with them")
	costPuts   = flag.Int("cost-clients", 16, "clients that write in TestStrangersCost")
	costRate   = flag.Float64("cost-rate", 1000, "puts a second of them all together; 0: as many as they can")
	costNice   = flag.Int("cost-nice", 19, "priority of the strangers, as of nice; 0: the client's")
	guestsAt   = flag.String("guests", "", "of TestStrangersCost itself: be the strangers at port=address,…")
)

// mostOfNode is what part of a node's processors strangers may take, mostSlower what part of the rate at which clients
// write, and mostApart how much two equal parts may differ by the first on a machine that is quiet enough to say so.
const mostOfNode, mostSlower, mostApart = 0.10, 0.10, 0.03

// cost is what one attack did: rates and times of the puts of each part, and what the node needed at most.
type cost struct {
	alone, beside []part
	most          figures
}

// part is a time of writing.
type part struct {
	rate float64 // puts a second
	p99  time.Duration
	cpu  float64 // of the node, processors
}

// What do strangers cost a node? Each attack alone, by a process of its own with the lowest priority, so that on a
// machine with few processors it takes what is left; rounds without it and with it in turn. Clients put at one rate in
// both, which is far from what the node can do: so the strangers have the rest of the machine to attack with, and what
// the node needs more is theirs, and not that of puts that went better or worse. It ends with a table, whose first line
// is what parts without any strangers differ by, and fails if the node ends, if an attack takes more than a tenth of
// its processors, or if clients cannot keep their rate by as much. Where the first line says that the machine is not
// quiet, nothing is said of it. By hand:
//
//	go test ./e2e -run TestStrangersCost -v -timeout 0 -cost 10s
func TestStrangersCost(t *testing.T) {
	if *costTime == 0 {
		t.Skip("a measurement: see -cost")
	}
	h := openHouse(t)
	all := map[string]*cost{}
	var names []string
	for _, s := range strangers {
		if *strangersOf == "" || slices.Contains(strings.Split(*strangersOf, ","), s.name) {
			names, all[s.name] = append(names, s.name), &cost{}
		}
	}
	const nobody = "(nobody)" // what two parts differ by themselves
	names, all[nobody] = append([]string{nobody}, names...), &cost{}
	h.puts(t, *costTime) // for the files, caches and connections
	for round := range *costRounds {
		for _, name := range names {
			h.compare(t, name, all[name], round%2 == 1)
		}
	}
	var table bytes.Buffer
	slow := tellCosts(&table, names, all)
	t.Logf("%d clients that put %g/s, %d rounds of %s; medians of the rounds\n%s", *costPuts, *costRate, *costRounds,
		*costTime, &table)
	if apart := all[nobody].taken(); apart < -mostApart || apart > mostApart {
		t.Skipf("the machine is not quiet: without strangers a part has %.2f of the node more than another", apart)
	}
	if len(slow) > 0 {
		t.Errorf("more than %.0f%% of the node, or of the rate: %s", mostOfNode*100, strings.Join(slow, ", "))
	}
}

// compare measures without one attack and with it, in this order or the other.
func (h *house) compare(t *testing.T, name string, c *cost, reversed bool) {
	t.Helper()
	without := func() { c.alone = append(c.alone, h.puts(t, *costTime)) }
	if !reversed {
		without()
	}
	before := h.figures(t)
	leave := h.guests(t, name)
	ctx, cancel := context.WithCancel(t.Context())
	peak := make(chan figures)
	go func() { peak <- h.peak(ctx) }()
	c.beside = append(c.beside, h.puts(t, *costTime))
	cancel()
	most := <-peak
	leave()
	after := h.calm(t, before)
	c.most = figures{max(c.most.megabytes, most.megabytes), max(c.most.descriptors, most.descriptors),
		max(c.most.goroutines, most.goroutines), max(c.most.lines, after.lines-before.lines)}
	if reversed {
		without()
	}
}

// guests has another process be the strangers of one name, and returns what ends it.
func (h *house) guests(t *testing.T, name string) (leave func()) {
	t.Helper()
	var at []string
	for _, port := range slices.Sorted(maps.Keys(h.ports)) {
		at = append(at, port+"="+h.ports[port])
	}
	args := []string{os.Args[0], "-test.run", "^TestGuests$", "-guests", strings.Join(at, ","), "-attacks", name}
	if nice, err := exec.LookPath("nice"); err == nil && *costNice != 0 {
		args = append([]string{nice, "-n", fmt.Sprint(*costNice)}, args...)
	}
	c := exec.CommandContext(t.Context(), args[0], args[1:]...)
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("the strangers: %v", err)
		}
	}
}

// TestGuests is the process of the strangers. They stay until nobody holds its standard input.
func TestGuests(t *testing.T) {
	if *guestsAt == "" {
		t.Skip("started by TestStrangersCost")
	}
	h := &house{ports: map[string]string{}}
	for _, one := range strings.Split(*guestsAt, ",") {
		port, address, _ := strings.Cut(one, "=")
		h.ports[port] = address
	}
	ctx, cancel := context.WithCancel(t.Context())
	visits := h.invite(ctx)
	io.Copy(io.Discard, os.Stdin)
	cancel()
	visits.Wait()
}

// puts has clients write for so long.
func (h *house) puts(t *testing.T, d time.Duration) part {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	cpu := h.seconds(t)
	began := time.Now()
	var mu sync.Mutex
	var all pace
	var writers sync.WaitGroup
	for i := range *costPuts {
		writers.Go(func() {
			for n := 0; waitUntil(ctx, began.Add(turnOf(i, n))); n++ {
				one := time.Now()
				_, err := h.client.Put(t.Context(), fmt.Sprint("cost", i), strings.Repeat("v", 100))
				if err != nil {
					t.Errorf("a client beside strangers: %v; %s", err, h.node.LastWords())
					return
				}
				mu.Lock()
				all = append(all, time.Since(one))
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	took := time.Since(began).Seconds()
	if len(all) == 0 {
		t.Fatal("nothing was written")
	}
	slices.Sort(all)
	return part{float64(len(all)) / took, all[len(all)*99/100], (h.seconds(t) - cpu) / took}
}

// turnOf is when a client makes its put n, from the beginning of a part on. Who is late makes the next one at once.
func turnOf(client, n int) time.Duration {
	if *costRate == 0 {
		return 0
	}
	return time.Duration(float64(n**costPuts+client) / *costRate * float64(time.Second))
}

// waitUntil returns whether the time came before the context ended.
func waitUntil(ctx context.Context, at time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Until(at)):
		return ctx.Err() == nil
	}
}

// seconds returns how much time of a processor the node has had.
func (h *house) seconds(t *testing.T) float64 {
	t.Helper()
	values, err := h.scrape(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return values["process_cpu_seconds_total"]
}

func medianOf(parts []part, of func(part) float64) float64 {
	var all []float64
	for _, p := range parts {
		all = append(all, of(p))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func rateOf(p part) float64 { return p.rate }
func cpuOf(p part) float64  { return p.cpu }

// ratio is how much of the rate is left beside the strangers.
func (c *cost) ratio() float64 { return medianOf(c.beside, rateOf) / medianOf(c.alone, rateOf) }

// taken is what part of the node's processors went to the strangers: the median of what each round says.
func (c *cost) taken() float64 {
	var all []float64
	for i, alone := range c.alone {
		puts := c.beside[i].rate * alone.cpu / alone.rate
		all = append(all, (c.beside[i].cpu-puts)/float64(runtime.NumCPU()))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// tellCosts writes the table, and returns the names of those that cost too much.
func tellCosts(to io.Writer, names []string, all map[string]*cost) (slow []string) {
	p99 := func(p part) float64 { return p.p99.Seconds() * 1000 }
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "attack\tof the node\tputs/s alone\tbeside\tratio\tp99 ms alone\tbeside\tCPU alone\tbeside\t"+
		"most MB\tdescriptors\tgoroutines\tlog lines\t")
	for _, name := range names {
		c := all[name]
		if c.taken() > mostOfNode || c.ratio() < 1-mostSlower {
			slow = append(slow, name)
		}
		fmt.Fprintf(w, "%s\t%.3f\t%.0f\t%.0f\t%.2f\t%.1f\t%.1f\t%.2f\t%.2f\t%d\t%d\t%d\t%d\t\n", name, c.taken(),
			medianOf(c.alone, rateOf), medianOf(c.beside, rateOf), c.ratio(),
			medianOf(c.alone, p99), medianOf(c.beside, p99), medianOf(c.alone, cpuOf), medianOf(c.beside, cpuOf),
			c.most.megabytes, c.most.descriptors, c.most.goroutines, c.most.lines)
	}
	w.Flush()
	return slow
}
