package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mimir-kv/mimir/server/console"
	"github.com/mimir-kv/mimir/server/operator"
)

// slow tells the log of requests that took long: of a few in each window, so that a fleet which is slow is not made
// slower by saying so. It is safe for concurrent use.
type slow struct {
	bound  atomic.Int64 // a time.Duration; 0: no request is slow
	logger *slog.Logger
	now    func() time.Time

	mu    sync.Mutex
	began time.Time // of the window
	lines int
	left  int            // told nobody, since the last line
	told  []console.Slow // the last of those that the log was told, the newest last
}

const (
	slowWindow = 10 * time.Second
	slowLines  = 10
	// keyBytes is how much of a key the log is told.
	keyBytes = 64
	// slowKept is how many of those that the log was told are kept for the console.
	slowKept = 50
)

// patients are the requests that wait for others as long as those like.
var patients = map[string]bool{"/v3lockpb.Lock/Lock": true, "/v3electionpb.Election/Campaign": true}

func newSlow(bound time.Duration, logger *slog.Logger) *slow {
	s := &slow{logger: logger, now: time.Now}
	s.bound.Store(int64(bound))
	return s
}

// unary returns the interceptor of a gRPC server that stands before next.
func (s *slow) unary(next grpc.UnaryServerInterceptor) grpc.UnaryServerInterceptor {
	return func(
		ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
	) (any, error) {
		began := time.Now()
		answer, err := next(ctx, request, info, handle)
		s.heard(ctx, info.FullMethod, time.Since(began), request, answer, err)
		return answer, err
	}
}

// heard tells of a request if it was slow.
func (s *slow) heard(ctx context.Context, method string, took time.Duration, request, answer any, err error) {
	bound := time.Duration(s.bound.Load())
	if bound == 0 || took <= bound || patients[method] {
		return
	}
	left, due := s.due()
	if !due {
		return
	}
	about := []any{"method", method, "took", took.Round(time.Millisecond), "bound", bound, "code", status.Code(err)}
	if from := operator.Remote(ctx); from != "" {
		about = append(about, "client", from)
	}
	about = append(about, subject(request)...)
	if m, ok := answer.(proto.Message); ok && err == nil {
		about = append(about, "answerBytes", proto.Size(m))
	}
	s.logger.WarnContext(ctx, "a request was slow", append(about, "more", left)...)
	s.keep(console.Slow{At: s.now(), Method: method, Took: fmt.Sprint(took.Round(time.Millisecond)),
		About: aboutText(about[6:]), More: left})
}

// keep has what the log was told kept for the console, as far as there is room.
func (s *slow) keep(one console.Slow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.told) == slowKept {
		s.told = slices.Delete(s.told, 0, 1)
	}
	s.told = append(s.told, one)
}

// last returns what is kept, the newest first.
func (s *slow) last() []console.Slow {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.told)
	slices.Reverse(list)
	return list
}

// aboutText writes what a line of the log says of a request: keys in quotes, whatever bytes they are.
func aboutText(about []any) string {
	var out strings.Builder
	for i := 0; i+1 < len(about); i += 2 {
		value := fmt.Sprint(about[i+1])
		if about[i] == "key" || about[i] == "rangeEnd" {
			value = strconv.Quote(value)
		}
		fmt.Fprintf(&out, "%s %s, ", about[i], value)
	}
	return strings.TrimSuffix(out.String(), ", ")
}

// due reports whether a line is to be written, and of how many requests none was.
func (s *slow) due() (left int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); s.began.IsZero() || now.Sub(s.began) >= slowWindow {
		s.began, s.lines = now, 0
	}
	if s.lines >= slowLines {
		s.left++
		return 0, false
	}
	left, s.left = s.left, 0
	s.lines++
	return left, true
}

// subject says what a request was about: its first key, and never a value.
func subject(request any) (about []any) {
	var key, end []byte
	switch r := request.(type) {
	case *pb.RangeRequest:
		key, end = r.Key, r.RangeEnd
		about = append(about, "limit", r.Limit)
	case *pb.PutRequest:
		key = r.Key
	case *pb.DeleteRangeRequest:
		key, end = r.Key, r.RangeEnd
	case *pb.TxnRequest:
		if len(r.Compare) > 0 {
			key = r.Compare[0].Key
		}
		about = append(about, "compares", len(r.Compare), "ops", max(len(r.Success), len(r.Failure)))
	}
	if key != nil {
		about = append(about, "key", string(key[:min(len(key), keyBytes)]))
	}
	if end != nil {
		about = append(about, "rangeEnd", string(end[:min(len(end), keyBytes)]))
	}
	if m, ok := request.(proto.Message); ok {
		about = append(about, "requestBytes", proto.Size(m))
	}
	return about
}
