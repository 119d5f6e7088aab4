package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// Measurement is one operation run on one side in one round.
type Measurement struct {
	Side      string        `json:"side"`
	Operation string        `json:"operation"`
	Round     int           `json:"round"`
	Done      uint64        `json:"done"`
	Errors    uint64        `json:"errors"`
	Error     string        `json:"error,omitempty"` // the first
	Elapsed   time.Duration `json:"elapsedNanos"`
	PerSecond float64       `json:"perSecond"`
	Mean      time.Duration `json:"meanNanos"`
	P50       time.Duration `json:"p50Nanos"`
	P90       time.Duration `json:"p90Nanos"`
	P99       time.Duration `json:"p99Nanos"`
	P999      time.Duration `json:"p999Nanos"`
	Max       time.Duration `json:"maxNanos"`
}

// Run measures every operation in every round on every side: A B, B A, A B, … It ends early with ctx, returning what it
// has.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	targets := make([]*target, len(o.Sides))
	for i, side := range o.Sides {
		t, err := connect(ctx, &o, side)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side.Name, err)
		}
		defer t.close()
		targets[i] = t
	}
	report := &Report{Clients: o.Clients, Connections: o.Connections, KeySpace: o.KeySpace, ValueBytes: o.ValueBytes}
	for _, op := range o.Operations {
		for round := range o.Rounds {
			for i := range targets {
				t := targets[(i+round)%len(targets)]
				m, err := measure(ctx, &o, t, op)
				if err != nil {
					return report, fmt.Errorf("%s: %s: %w", t.name, op, err)
				}
				m.Round = round + 1
				report.Measurements = append(report.Measurements, *m)
				if o.Progress != nil {
					o.Progress(m.String())
				}
			}
		}
	}
	return report, nil
}

// target is one side with its connections.
type target struct {
	name    string
	clients []*clientv3.Client
	filled  bool
	was     int64 // a revision at which all keys are there, and behind which many are written
}

func connect(ctx context.Context, o *Options, side Side) (*target, error) {
	t := &target{name: side.Name}
	var options []grpc.DialOption
	if side.Dial != nil {
		options = append(options, grpc.WithContextDialer(side.Dial))
	}
	for i := range o.Connections {
		// Each connection starts at another endpoint, so that a load is spread even if a client stays where it is.
		endpoints := append([]string(nil), side.Endpoints...)
		n := i % len(endpoints)
		endpoints = append(endpoints[n:], endpoints[:n]...)
		c, err := clientv3.New(clientv3.Config{
			Endpoints: endpoints, TLS: side.TLS, DialTimeout: 5 * time.Second, MaxCallSendMsgSize: 64 << 20,
			Username: side.User, Password: side.Password,
			Context: ctx, DialOptions: options,
			Logger: zap.NewNop(), // errors are counted, not logged
		})
		if err != nil {
			t.close()
			return nil, err
		}
		t.clients = append(t.clients, c)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if _, err := t.clients[0].Get(ctx, "mimir-bench-reachable"); err != nil {
		t.close()
		return nil, fmt.Errorf("%v: %w", side.Endpoints, err)
	}
	return t, nil
}

func (t *target) close() {
	for _, c := range t.clients {
		c.Close()
	}
}

// Session is one side that is connected, for who decides himself what is measured when.
type Session struct{ target *target }

// Open connects to the only side of o.
func Open(ctx context.Context, o Options) (*Session, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	t, err := connect(ctx, &o, o.Sides[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Sides[0].Name, err)
	}
	return &Session{t}, nil
}

// Measure measures one operation with the callers and sizes of o; the connections are those of Open.
func (s *Session) Measure(ctx context.Context, o Options, op string) (*Measurement, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m, err := measure(ctx, &o, s.target, op)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.target.name, op, err)
	}
	return m, nil
}

// Filled takes over that the keys are there, from another session of the same side.
func (s *Session) Filled(other *Session) {
	s.target.filled, s.target.was = other.target.filled, other.target.was
}

// Close ends the connections.
func (s *Session) Close() { s.target.close() }

// work is what one caller does again and again.
type work func(ctx context.Context, c *clientv3.Client, random *rand.Rand) error

func measure(ctx context.Context, o *Options, t *target, op string) (*Measurement, error) {
	if op != Put && op != Watch && !t.filled {
		if err := fill(ctx, o, t); err != nil {
			return nil, fmt.Errorf("fill %d keys: %w", o.KeySpace, err)
		}
	}
	if op == Watch {
		return measureWatch(ctx, o, t)
	}
	do := o.operation(op, t)
	if op == KeepAlive {
		all, err := keepers(ctx, o, t)
		if err != nil {
			return nil, err
		}
		defer all.close()
		do = all.work
	}
	if o.Warmup > 0 {
		drive(ctx, o, t, do, func() bool { return true }, o.Warmup)
	}
	more := func() bool { return true }
	limit := o.Duration
	if o.Total > 0 {
		var taken atomic.Int64
		more = func() bool { return taken.Add(1) <= int64(o.Total) }
		limit = 0
	}
	r := drive(ctx, o, t, do, more, limit)
	return r.measurement(t.name, op), ctx.Err()
}

// result is what a drive has counted.
type result struct {
	latency Histogram
	errors  uint64
	first   error
	elapsed time.Duration
}

// drive lets o.Clients callers work until more says no or limit, if not 0, has passed.
func drive(ctx context.Context, o *Options, t *target, do work, more func() bool, limit time.Duration) *result {
	parts := make([]result, o.Clients)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			part, client := &parts[i], t.clients[i%len(t.clients)]
			random := rand.New(rand.NewPCG(o.Seed, uint64(i)))
			for ctx.Err() == nil && more() {
				start := time.Now()
				if limit > 0 && start.Sub(began) >= limit {
					return
				}
				bounded, cancel := context.WithTimeout(ctx, o.Timeout)
				err := do(bounded, client, random)
				cancel()
				if err != nil {
					part.errors++
					if part.first == nil {
						part.first = err
					}
					continue
				}
				part.latency.Add(time.Since(start))
			}
		})
	}
	wg.Wait()
	whole := &result{elapsed: time.Since(began)}
	for i := range parts {
		whole.latency.Merge(&parts[i].latency)
		whole.errors += parts[i].errors
		if whole.first == nil {
			whole.first = parts[i].first
		}
	}
	return whole
}

func (r *result) measurement(side, op string) *Measurement {
	h := &r.latency
	m := &Measurement{
		Side: side, Operation: op, Done: h.Count(), Errors: r.errors, Elapsed: r.elapsed, Mean: h.Mean(),
		P50: h.Quantile(0.5), P90: h.Quantile(0.9), P99: h.Quantile(0.99), P999: h.Quantile(0.999), Max: h.max,
	}
	if r.elapsed > 0 {
		m.PerSecond = float64(m.Done) / r.elapsed.Seconds()
	}
	if r.first != nil {
		m.Error = r.first.Error()
	}
	return m
}

// String returns the measurement as one line.
func (m *Measurement) String() string {
	line := fmt.Sprintf("%-12s %-16s %10.0f/s  p50 %-9s p99 %-9s max %-9s", m.Side, m.Operation, m.PerSecond,
		short(m.P50), short(m.P99), short(m.Max))
	if m.Errors > 0 {
		line += fmt.Sprintf("  %d errors (%s)", m.Errors, m.Error)
	}
	return line
}

func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}
