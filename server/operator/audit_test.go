package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/mimir-kv/mimir/replication/clock/virtual"
)

// line is a line of an audit log.
type line struct {
	Msg, Level, Op, Outcome, Who, Remote, Certificate, Serial, Took, Err string
	Names                                                                []string
	Args                                                                 map[string]string
	More                                                                 int
}

func linesIn(t *testing.T, text string) (lines []line) {
	t.Helper()
	for one := range strings.Lines(text) {
		var l line
		if err := json.Unmarshal([]byte(one), &l); err != nil {
			t.Fatalf("%s: %v", one, err)
		}
		lines = append(lines, l)
	}
	return lines
}

// gateTo returns a gate that tells the returned file, behind a token and the given log.
func gateTo(t *testing.T, required bool, log io.Writer) (*Gate, *Audit, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	a, err := OpenAudit(AuditOptions{
		File: path, Required: required, Logger: slog.New(slog.NewJSONHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	tokens, _ := tokensIn(t, "alice "+aliceToken)
	return NewGate(a, tokens), a, path
}

func textOfFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// withToken returns the context of a gRPC request that shows a token.
func withToken(ctx context.Context, key, token string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs(key, token))
}

// Every call for operators over gRPC is told: by whom, with which arguments, and how it ended; no secret is.
func TestCallsOverGRPCAreTold(t *testing.T) {
	g, _, path := gateTo(t, false, io.Discard)
	call := func(ctx context.Context, method string, request any, err error) error {
		_, err = g.Unary(ctx, request, &grpc.UnaryServerInfo{FullMethod: method},
			func(context.Context, any) (any, error) { return nil, err })
		return err
	}
	alice := withToken(t.Context(), "authorization", "Bearer "+aliceToken)
	etcdctl := withToken(t.Context(), "token", aliceToken)
	for _, test := range []struct {
		ctx     context.Context
		method  string
		request any
		err     error
		code    codes.Code
	}{
		{alice, cluster + "MemberAdd", &pb.MemberAddRequest{PeerURLs: []string{"http://x@y:1"}, IsLearner: true}, nil,
			0},
		{etcdctl, cluster + "MemberRemove", &pb.MemberRemoveRequest{ID: 0xabc}, nil, 0},
		{etcdctl, auth + "UserAdd", &pb.AuthUserAddRequest{Name: "u", Password: "geheim"}, nil, 0},
		{alice, maintenance + "MoveLeader", &pb.MoveLeaderRequest{TargetID: 255}, errors.New("no such"), codes.Unknown},
		{t.Context(), maintenance + "Alarm", &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE}, nil,
			codes.PermissionDenied},
		{t.Context(), maintenance + "Alarm", &pb.AlarmRequest{}, nil, 0},
		{t.Context(), kv + "Put", &pb.PutRequest{Key: []byte("k"), Value: []byte("geheim")}, nil, 0},
		{t.Context(), "/etcdserverpb.KV/Nobody", &pb.PutRequest{Value: []byte("geheim")}, nil, codes.PermissionDenied},
	} {
		if err := call(test.ctx, test.method, test.request, test.err); status.Code(err) != test.code {
			t.Errorf("%s: %v", test.method, err)
		}
	}
	text := textOfFile(t, path)
	if strings.Contains(text, "geheim") || strings.Contains(text, aliceToken) {
		t.Errorf("a secret is told:\n%s", text)
	}
	want := []string{
		cluster + "MemberAdd done token alice map[isLearner:true peerURLs:http://x@y:1] ",
		cluster + "MemberRemove done token alice map[ID:abc] ",
		auth + "UserAdd done token alice map[name:u] ",
		maintenance + "MoveLeader failed token alice map[targetID:ff] no such",
		maintenance + "Alarm refused  map[action:DEACTIVATE] no token was shown",
		"/etcdserverpb.KV/Nobody refused  map[] no token was shown",
	}
	lines := linesIn(t, text)
	for i, l := range lines {
		got := fmt.Sprintf("%s %s %s %v %s", l.Op, l.Outcome, l.Who, l.Args, l.Err)
		if i >= len(want) || !strings.HasPrefix(got, want[i]) {
			t.Errorf("line %d: %s", i, got)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("%d lines", len(lines))
	}
}

// streamOf is a stream of a server with a context.
type streamOf struct {
	grpc.ServerStream
	ctx context.Context
}

func (s streamOf) Context() context.Context { return s.ctx }

// A snapshot is told when it begins and when it ends, also if its handler panics.
func TestWhatTakesLongIsToldTwice(t *testing.T) {
	g, _, path := gateTo(t, false, io.Discard)
	info := &grpc.StreamServerInfo{FullMethod: maintenance + "Snapshot"}
	ctx := grpcpeer.NewContext(withToken(t.Context(), "token", aliceToken), &grpcpeer.Peer{Addr: address("10.0.0.1:5")})
	func() {
		defer func() { _ = recover() }()
		g.Stream(nil, streamOf{ctx: ctx}, info, func(any, grpc.ServerStream) error { //nolint:errcheck // it panics
			if lines := linesIn(t, textOfFile(t, path)); len(lines) != 1 || lines[0].Outcome != begun {
				t.Errorf("while it goes on: %+v", lines)
			}
			panic("bug")
		})
	}()
	lines := linesIn(t, textOfFile(t, path))
	if len(lines) != 2 || lines[1].Outcome != failed || lines[1].Err != "cut short" || lines[1].Took == "" ||
		lines[1].Remote != "10.0.0.1:5" {
		t.Errorf("at its end: %+v", lines)
	}
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// A call over HTTP is told with what its handler will read, whatever the body is made to look like.
func TestCallsOverHTTPAreTold(t *testing.T) {
	g, _, path := gateTo(t, false, io.Discard)
	mux := http.NewServeMux()
	got := ""
	for _, pattern := range []string{"POST /mimir/v1/failover", "GET /mimir/v1/tails/{name}"} {
		mux.Handle(pattern, g.HTTP(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			in := struct {
				To    string
				Force bool
			}{}
			if r.Method == http.MethodPost && json.NewDecoder(r.Body).Decode(&in) != nil {
				w.WriteHeader(http.StatusBadRequest)
				io.WriteString(w, `{"error":"body: no"}`) //nolint:errcheck // a test
			}
			got = in.To
		})))
	}
	for _, test := range []struct{ method, path, body, token, want string }{
		{"POST", "/mimir/v1/failover", `{"to":"eu","force":true}`, aliceToken, "done map[force:true to:eu]"},
		{"POST", "/mimir/v1/failover?to=us", `{"to":"us","To":"eu"}`, aliceToken, "done map[to:eu]"},
		{"POST", "/mimir/v1/failover", `{"TO":"eu","to":null,"geheim":"geheim"}`, aliceToken, "done map[to:eu]"},
		{"POST", "/mimir/v1/failover", `no`, aliceToken, "failed map[] body: no"},
		{"POST", "/mimir/v1/failover", `{"to":"eu"}`, "geheim", "refused map[to:eu] the token that was shown is not"},
		{"GET", "/mimir/v1/tails/us-e2?name=x", "", aliceToken, "done map[name:us-e2]"},
	} {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
		r.Header.Set("Authorization", "bearer "+test.token)
		w := httptest.NewRecorder()
		got = ""
		mux.ServeHTTP(w, r)
		text := textOfFile(t, path)
		lines := linesIn(t, text)
		last := lines[len(lines)-1]
		if told := strings.TrimSpace(fmt.Sprintf("%s %v %s", last.Outcome, last.Args, last.Err)); !strings.HasPrefix(
			told, test.want) || strings.Contains(text, "geheim") || last.Remote == "" {
			t.Errorf("%s %s: %s\n%s", test.path, test.body, told, text)
		}
		if strings.HasPrefix(test.want, "done") && test.method == "POST" && got != "eu" {
			t.Errorf("%s: the handler read %q", test.body, got)
		}
		if denied := w.Code == http.StatusForbidden; denied != strings.HasPrefix(test.want, "refused") {
			t.Errorf("%s: %d %s", test.body, w.Code, w.Body)
		}
	}
}

// A thousand refusals are a few lines, which say how many were left out; what an operator does is told all the same.
func TestStrangersDoNotFloodTheAuditLog(t *testing.T) {
	g, a, path := gateTo(t, false, io.Discard)
	refuse := func(remote, op string) {
		ctx := grpcpeer.NewContext(t.Context(), &grpcpeer.Peer{Addr: address(remote)})
		_, err := g.Unary(ctx, &pb.DefragmentRequest{}, &grpc.UnaryServerInfo{FullMethod: op}, nil)
		if status.Code(err) != codes.PermissionDenied {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		refuse(fmt.Sprintf("10.0.0.1:%d", i), maintenance+"Defragment")
	}
	for i := range 500 {
		refuse(fmt.Sprintf("[fd00::%x]:1", i), maintenance+"HashKV")
	}
	_, err := g.Unary(withToken(t.Context(), "token", aliceToken), &pb.DefragmentRequest{},
		&grpc.UnaryServerInfo{FullMethod: maintenance + "Defragment"},
		func(context.Context, any) (any, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	a.quiet.end()
	told, more := map[string]int{}, 0
	for _, l := range linesIn(t, textOfFile(t, path)) {
		told[l.Outcome]++
		more += l.More
	}
	if told[refused] < 64 || told[refused] > 80 || told[done] != 1 || told[refused]+more != 1500 {
		t.Errorf("told %v, left out %d", told, more)
	}
	if f := a.Figures(); f.Outcomes[refused] != 1500 {
		t.Errorf("counted: %+v", f)
	}
	refuse("10.0.0.1:1", maintenance+"Defragment")
	if lines := linesIn(t, textOfFile(t, path)); lines[len(lines)-1].Outcome != refused {
		t.Error("in the next window he is not told of")
	}
}

// However long strangers go on, from however many addresses, and whatever they call, they do not fill the disk: ten
// minutes of it are a few lines more than one.
func TestStrangersDoNotFloodTheAuditLogInTheLongRun(t *testing.T) {
	for _, refused := range []bool{true, false} {
		virtual.Test(t, func(t *testing.T) {
			const minutes, calls = 10, 2
			var told, left atomic.Int64
			q := newQuiet(quietTime, func(o leftOut) {
				told.Add(1)
				if left.Add(int64(o.n)); o.hosts != mostHosts+1 {
					t.Errorf("left out of %d hosts", o.hosts)
				}
				if !refused && (len(o.ops) != calls || len(o.by) != mostHosts+1) || refused && o.ops != nil {
					t.Errorf("named are %q by %q", o.ops, o.by)
				}
			})
			hidden := int64(0)
			for began := time.Now(); time.Since(began) < minutes*time.Minute; time.Sleep(2 * time.Second) {
				for i := range 70 * calls {
					if q.due(fmt.Sprint("host ", i%70), fmt.Sprint("call ", i%calls), refused) {
						told.Add(1)
					} else {
						hidden++
					}
				}
			}
			virtual.Wait()
			q.close()
			most := mostLines + 60*minutes*linesEach
			if !refused {
				most = calls * (mostAllowed + 60*minutes*allowedEach)
			}
			most += 60 * minutes / quietTime.Seconds()
			if n := told.Load(); float64(n) > most+2 || left.Load() != hidden {
				t.Errorf("refused %t: %d lines, want %v; %d of %d are counted", refused, n, most, left.Load(), hidden)
			}
		})
	}
}

// Where everybody is an operator, many calls of one kind are counted, and do not hide one of another; those that change
// nothing are told no more often than refusals.
func TestManyCallsHideNoOther(t *testing.T) {
	for method, told := range map[string]int{"Defragment": mostAllowed, "HashKV": mostRefused} {
		_, a, path := gateTo(t, false, io.Discard)
		g := NewGate(a)
		for i := range 1001 {
			full := maintenance + method
			if i == 1000 {
				full = maintenance + "MoveLeader"
			}
			_, err := g.Unary(t.Context(), &pb.HashKVRequest{}, &grpc.UnaryServerInfo{FullMethod: full},
				func(context.Context, any) (any, error) { return nil, nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		a.quiet.end()
		lines := linesIn(t, textOfFile(t, path))
		n := len(lines)
		if n != told+2 || lines[n-2].Op != maintenance+"MoveLeader" || lines[n-1].More != 1000-told ||
			!strings.HasPrefix(lines[0].Who, "anybody: no rule") {
			t.Errorf("%s: %d lines, the last: %+v", method, n, lines[max(0, n-2):])
		}
	}
}

// Who changes something is named though he does it too often for a line each, however many others ask for something
// that changes nothing, or are refused.
func TestWhoChangesMuchIsNamed(t *testing.T) {
	var outs []leftOut
	q := newQuiet(time.Hour, func(o leftOut) { outs = append(outs, o) })
	for i := range 4 * mostHosts {
		q.due(fmt.Sprint("stranger ", i), "read", true)
	}
	for range mostAllowed + 1 {
		q.due("a", "one", false)
	}
	for range mostAllowed {
		q.due("a", "two", false)
	}
	q.due("b", "two", false)
	q.end()
	q.due("c", "one", false)
	q.close()
	if len(outs) != 2 || fmt.Sprint(outs[0].ops, outs[0].by) != "[one two] [a b]" ||
		fmt.Sprint(outs[1].ops, outs[1].by) != "[one] [c]" {
		t.Errorf("%+v", outs)
	}
}

// Where nothing may be done that is not written, everything is, also where everybody is an operator, however many calls
// there are; and once that cannot be nothing is done.
func TestNothingIsDoneThatIsNotWritten(t *testing.T) {
	_, a, path := gateTo(t, true, io.Discard)
	g, ran := NewGate(a), 0
	call := func(method string) error {
		_, err := g.Unary(t.Context(), &pb.HashKVRequest{}, &grpc.UnaryServerInfo{FullMethod: maintenance + method},
			func(context.Context, any) (any, error) { ran++; return nil, nil })
		return err
	}
	methods := []string{"MoveLeader", "HashKV"}
	const calls = mostAllowed + 10
	for _, method := range methods {
		for range calls {
			if err := call(method); err != nil {
				t.Fatal(err)
			}
		}
	}
	told := map[string]int{}
	for _, l := range linesIn(t, textOfFile(t, path)) {
		told[l.Op+" "+l.Outcome]++
	}
	for _, method := range methods {
		for _, outcome := range []string{begun, done} {
			if n := told[maintenance+method+" "+outcome]; n != calls {
				t.Errorf("%s %s: %d lines of %d", method, outcome, n, calls)
			}
		}
	}
	if err := os.Rename(filepath.Dir(path), filepath.Dir(path)+".gone"); err != nil {
		t.Fatal(err)
	}
	ran = 0
	for _, method := range methods {
		if err := call(method); status.Code(err) != codes.Unavailable || ran != 0 {
			t.Errorf("%s, which is not written: %v, ran %d times", method, err, ran)
		}
	}
}

// The audit log is a private file that is appended to; one that is put away is followed by a new one.
func TestTheFileIsPrivateAndPutAway(t *testing.T) {
	g, a, path := gateTo(t, false, io.Discard)
	do := func() {
		t.Helper()
		_, err := g.Unary(withToken(t.Context(), "token", aliceToken), &pb.DefragmentRequest{},
			&grpc.UnaryServerInfo{FullMethod: maintenance + "Defragment"},
			func(context.Context, any) (any, error) { return nil, nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	do()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for _, put := range []func() error{
		func() error { return os.Rename(path, path+".1") },
		func() error { return os.Remove(path) },
		func() error { return errors.Join(os.Rename(path, path+".2"), a.Reopen()) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		do()
		if lines := linesIn(t, textOfFile(t, path)); len(lines) != 1 {
			t.Errorf("%d lines in the new one", len(lines))
		}
	}
	if lines := linesIn(t, textOfFile(t, path+".1")); len(lines) != 1 {
		t.Errorf("%d lines in the old one", len(lines))
	}
	again, err := OpenAudit(AuditOptions{File: path, Logger: silent()})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if lines := linesIn(t, textOfFile(t, path)); len(lines) != 1 {
		t.Error("what was there is gone")
	}
}

// Where the file cannot be written the lines go to the node's log, and operators are let in; unless it is required.
func TestAnAuditLogThatCannotBeWritten(t *testing.T) {
	for _, required := range []bool{false, true} {
		var log bytes.Buffer
		g, a, path := gateTo(t, required, &log)
		dir := filepath.Dir(path)
		if err := os.Rename(dir, dir+".gone"); err != nil {
			t.Fatal(err)
		}
		ran := false
		call := func() error {
			_, err := g.Unary(withToken(t.Context(), "token", aliceToken), &pb.DefragmentRequest{},
				&grpc.UnaryServerInfo{FullMethod: maintenance + "Defragment"},
				func(context.Context, any) (any, error) { ran = true; return nil, nil })
			return err
		}
		err := call()
		if required && (status.Code(err) != codes.Unavailable || ran) || !required && (err != nil || !ran) {
			t.Errorf("required %t: %v, ran %t", required, err, ran)
		}
		if f := a.Figures(); f.Problem == "" || f.Failures == 0 {
			t.Errorf("required %t: %+v", required, f)
		}
		if text := log.String(); !strings.Contains(text, maintenance+"Defragment") ||
			strings.Count(text, "cannot be written: its lines come here") != 1 {
			t.Errorf("the node's log: %s", text)
		}
		if err := os.Rename(dir+".gone", dir); err != nil {
			t.Fatal(err)
		}
		if err := call(); err != nil || a.Figures().Problem != "" || !strings.Contains(textOfFile(t, path), "done") {
			t.Errorf("required %t, when it is back: %v, %+v", required, err, a.Figures())
		}
	}
}

// A line that came to the disk in part does not spoil the next one.
func TestALineThatIsCut(t *testing.T) {
	f, err := openFile(filepath.Join(t.TempDir(), "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if _, err := f.Write([]byte(`{"half":`)); err != nil {
		t.Fatal(err)
	}
	f.cut = true // as after a write that was short
	if _, err := f.Write([]byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	if text := textOfFile(t, f.path); text != "{\"half\":\n{}\n" {
		t.Errorf("%q", text)
	}
}
