package store_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"

	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/backup/store/storetest"
)

func open(t *testing.T, where string, o store.Options) store.Store {
	t.Helper()
	s, err := store.Open(where, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestS3(t *testing.T) {
	fake := storetest.NewS3(t, false)
	n := 'a'
	storetest.Run(t, func(t *testing.T) store.Store {
		neighbour := open(t, fake.Place("p/"+string(n)+"-not"), store.Options{})
		if err := neighbour.Put(t.Context(), "x", strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		s := open(t, fake.Place("p/"+string(n)), store.Options{TempDir: t.TempDir()})
		n++
		return s
	})
}

func TestS3Answers(t *testing.T) {
	fake := storetest.NewS3(t, false)
	s := open(t, fake.Place("p"), store.Options{})
	for _, c := range []struct {
		code   string
		status int
		is     error
		says   string
	}{
		{"NoSuchBucket", 404, store.ErrNoPlace, "make the bucket"},
		{"AccessDenied", 403, store.ErrDenied, "may not do this"},
		{"InvalidAccessKeyId", 403, store.ErrDenied, "not known"},
		{"SignatureDoesNotMatch", 403, store.ErrDenied, "secret access key is not the one"},
		{"ExpiredToken", 400, store.ErrDenied, "has run out"},
		{"RequestTimeTooSkewed", 403, store.ErrClock, "2h0m0s ahead"},
		{"XMinioStorageFull", 507, store.ErrFull, "no room left"},
		{"QuotaExceeded", 403, store.ErrFull, "quota"},
		{"SomethingElse", 507, store.ErrFull, "SomethingElse"},
		{"SlowDown", 503, store.ErrBusy, "SlowDown"},
		{"SomethingElse", 403, store.ErrDenied, "SomethingElse"},
		{"PermanentRedirect", 301, store.ErrNoPlace, "another region"},
		{"SomethingElse", 400, nil, "SomethingElse"},
	} {
		fake.GoWrong(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Date", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))
			storetest.Answer(w, r, c.status, c.code)
			return true
		})
		_, got := s.Get(t.Context(), "a")
		_, listed := s.List(t.Context(), "")
		for doing, err := range map[string]error{
			"put": s.Put(t.Context(), "a", strings.NewReader("x")), "get": got, "list": listed,
			"delete": s.Delete(t.Context(), "a"),
			"large":  s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 3<<20))),
		} {
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s, %s: %v", c.code, doing, err)
			}
			if err != nil && strings.Contains(err.Error(), storetest.SecretKey) {
				t.Errorf("a secret is shown: %v", err)
			}
		}
		if n := fake.Asked(); n > 5*6+6 {
			t.Errorf("%s: asked %d times", c.code, n)
		}
	}
}

func TestS3ComesBackLater(t *testing.T) {
	fake := storetest.NewS3(t, false)
	s := open(t, fake.Place("p"), store.Options{})
	busy := map[string]int{}
	fake.GoWrong(func(w http.ResponseWriter, r *http.Request) bool {
		busy[r.Method+r.URL.RawQuery]++
		if busy[r.Method+r.URL.RawQuery] > 3 {
			return false
		}
		storetest.Answer(w, r, http.StatusServiceUnavailable, "SlowDown")
		return true
	})
	text := strings.Repeat("text", 1<<20)
	if err := s.Put(t.Context(), "large", strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// cut passes so many bytes of an answer, and then breaks the connection.
type cut struct {
	http.ResponseWriter
	left   int
	before func()
}

func (c *cut) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		c.before()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestS3GoesOnWhereItBroke(t *testing.T) {
	fake := storetest.NewS3(t, false)
	s := open(t, fake.Place("p"), store.Options{})
	text := []byte(strings.Repeat("0123456789", 100<<10))
	if err := s.Put(t.Context(), "a", bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	get := func() ([]byte, error) {
		r, err := s.Get(t.Context(), "a")
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	inner := fake.Config.Handler
	breaks := func(after int, times int) {
		fake.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if times--; times >= 0 {
				w = &cut{w, after, func() {}}
			}
			inner.ServeHTTP(w, r)
		})
	}
	breaks(100<<10, 8) // each time some more came
	if got, err := get(); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	breaks(0, 1<<30)
	if got, err := get(); err == nil {
		t.Errorf("%d bytes out of nothing", len(got))
	}
	replaced := false
	fake.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && !replaced {
			replaced = true
			w = &cut{w, 100 << 10, func() { fake.Replace(t, "p/a", strings.Repeat("x", len(text))) }}
		}
		inner.ServeHTTP(w, r)
	})
	if got, err := get(); !errors.Is(err, store.ErrChanged) {
		t.Errorf("what was replaced as it was read: %d bytes, %v", len(got), err)
	}
}

func TestS3SeesWhatWasChanged(t *testing.T) {
	fake := storetest.NewS3(t, false)
	s := open(t, fake.Place("p"), store.Options{})
	fake.GoWrong(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			r.Body = io.NopCloser(&flipped{r.Body})
		}
		return false
	})
	for name, size := range map[string]int{"small": 1000, "large": 3 << 20} {
		err := s.Put(t.Context(), name, strings.NewReader(strings.Repeat("q", size)))
		if !errors.Is(err, store.ErrChanged) {
			t.Errorf("%s, changed on its way there: %v", name, err)
		}
	}
	fake.GoWrong(nil)
	if err := s.Put(t.Context(), "kept", strings.NewReader("qqq")); err != nil {
		t.Fatal(err)
	}
	fake.Replace(t, "p/kept", "qrq")
	r, err := s.Get(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); !errors.Is(err, store.ErrChanged) {
		t.Errorf("changed where it lies: %q, %v", got, err)
	}
}

// flipped changes a q.
type flipped struct{ io.Reader }

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if at := bytes.Index(p[:n], []byte("qqq")); at >= 0 {
		p[at] = 'r'
	}
	return n, err
}

func TestS3ThatStalls(t *testing.T) {
	fake := storetest.NewS3(t, false)
	s := open(t, fake.Place("p"), store.Options{Stall: 100 * time.Millisecond})
	if err := s.Put(t.Context(), "a", strings.NewReader("text")); err != nil {
		t.Fatal(err)
	}
	free := make(chan struct{})
	fake.GoWrong(func(http.ResponseWriter, *http.Request) bool { <-free; return true })
	defer close(free)
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrStalled) {
		t.Errorf("get: %v", err)
	}
	if err := s.Put(t.Context(), "a", strings.NewReader("another")); !errors.Is(err, store.ErrStalled) {
		t.Errorf("put: %v", err)
	}
}

// What moves does not stall, however long it takes.
func TestS3ThatIsSlow(t *testing.T) {
	fake := storetest.NewS3(t, false)
	const stall, parts = 3 * time.Second, 64
	s := open(t, fake.Place("p"), store.Options{Stall: stall})
	if err := s.Put(t.Context(), "a", strings.NewReader("text")); err != nil {
		t.Fatal(err)
	}
	fake.GoWrong(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Length", strconv.Itoa(parts))
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		for range parts { // more than a stall in all
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(50 * time.Millisecond)
		}
		return true
	})
	r, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || len(got) != parts || fake.Asked() != 1 {
		t.Errorf("%q, %v, asked %d times", got, err, fake.Asked())
	}
}

func TestS3IsTrusted(t *testing.T) {
	fake := storetest.NewS3(t, true)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fake.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, fake.Place("p"), store.Options{CAFile: ca})
	if err := s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 3<<20))); err != nil {
		t.Error(err)
	}
	err := open(t, fake.Place("p"), store.Options{}).Put(t.Context(), "a", strings.NewReader("x"))
	if !errors.Is(err, store.ErrNoPlace) || !strings.Contains(err.Error(), "not trusted") {
		t.Errorf("without the certificate of who signed: %v", err)
	}
	if _, err := store.Open(fake.Place("p"), store.Options{CAFile: os.DevNull}); err == nil {
		t.Error("a file without certificates is taken")
	}
	plain := strings.Replace(fake.Place("p"), "https", "http", 1)
	if err := open(t, plain, store.Options{}).Put(t.Context(), "a", strings.NewReader("x")); err == nil {
		t.Error("put without TLS where TLS is spoken")
	}
	fake = storetest.NewS3(t, false)
	secure := strings.Replace(fake.Place("p"), "http", "https", 1)
	err = open(t, secure, store.Options{}).Put(t.Context(), "a", strings.NewReader("x"))
	if !errors.Is(err, store.ErrNoPlace) || !strings.Contains(err.Error(), "http://") {
		t.Errorf("TLS where none is spoken: %v", err)
	}
	fake.Close()
	if _, err := open(t, fake.Place("p"), store.Options{}).List(t.Context(), ""); !errors.Is(err, store.ErrNoPlace) {
		t.Errorf("nobody is there: %v", err)
	}
}

func TestS3Credentials(t *testing.T) {
	fake := storetest.NewS3(t, false)
	file := filepath.Join(t.TempDir(), "keys")
	write := func(profile, id string) {
		text := "[" + profile + "]\naws_access_key_id = " + id + "\naws_secret_access_key = " +
			storetest.SecretKey + "\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, fake.Place("p"), store.Options{CredentialsFile: file})
	list := func() error {
		_, err := s.List(t.Context(), "")
		if err != nil && strings.Contains(err.Error(), storetest.SecretKey) {
			t.Errorf("a secret is shown: %v", err)
		}
		return err
	}
	denied := func(doing, says string) {
		t.Helper()
		if err := list(); !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", doing, err)
		}
	}
	denied("no file", "no credentials")
	write("default", "old")
	denied("an old key", "not known")
	write("default", storetest.AccessKey)
	if err := list(); err != nil {
		t.Errorf("the new key in the same file: %v", err)
	}
	write("other", storetest.AccessKey)
	denied("another profile", "no credentials")
	t.Setenv("AWS_PROFILE", "other")
	if err := list(); err != nil {
		t.Errorf("the named profile: %v", err)
	}
	s = open(t, fake.Place("p"), store.Options{})
	if err := list(); err != nil {
		t.Errorf("the environment: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	denied("half a key", "lacks")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	denied("nothing", "AWS_ACCESS_KEY_ID")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	if err := list(); err != nil {
		t.Errorf("the shared file: %v", err)
	}
}

type longAgo struct{}

func (longAgo) Now() time.Time                  { return time.Now().Add(-25 * time.Hour) }
func (longAgo) Since(t time.Time) time.Duration { return time.Since(t) }

// What is put and not ended costs room that nobody sees: it is given up if it fails, and, of the dead, by the next.
func TestS3UploadsAreGivenUp(t *testing.T) {
	fake := storetest.NewS3(t, false, gofakes3.WithTimeSource(longAgo{}), gofakes3.WithTimeSkewLimit(0))
	s := open(t, fake.Place("p"), store.Options{})
	large := bytes.Repeat([]byte("large"), 1<<19)
	var given, begun int
	uploads := func(breaks, killed bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			_, begins := r.URL.Query()["uploads"]
			upload := r.URL.Query().Has("uploadId")
			switch {
			case r.Method == http.MethodPost && begins:
				begun++
			case r.Method == http.MethodDelete && upload && killed:
				storetest.Answer(w, r, http.StatusForbidden, "AccessDenied")
				return true
			case r.Method == http.MethodDelete && upload:
				given++
			case r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "2" && breaks:
				storetest.Answer(w, r, http.StatusForbidden, "AccessDenied")
				return true
			}
			return false
		}
	}
	fake.GoWrong(uploads(true, false))
	if err := s.Put(t.Context(), "a", bytes.NewReader(large)); !errors.Is(err, store.ErrDenied) || given != 1 {
		t.Fatalf("%v, and %d given up", err, given)
	}
	fake.GoWrong(uploads(true, true))
	for range 2 {
		if err := s.Put(t.Context(), "a", bytes.NewReader(large)); !errors.Is(err, store.ErrDenied) {
			t.Fatal(err)
		}
	}
	fake.GoWrong(uploads(false, false))
	if err := s.Put(t.Context(), "b", bytes.NewReader(large)); err != nil {
		t.Fatal(err)
	}
	if begun != 4 || given != 3 {
		t.Errorf("%d uploads begun, and %d given up", begun, given)
	}
}

// A place that is a whole bucket is shared with others: of those who put something there, however long that takes, no
// upload is given up.
func TestS3UploadsOfOthersGoOn(t *testing.T) {
	fake := storetest.NewS3(t, false, gofakes3.WithTimeSource(longAgo{}), gofakes3.WithTimeSkewLimit(0))
	s := open(t, fake.Place(""), store.Options{})
	large := bytes.Repeat([]byte("large"), 1<<19)
	killed := map[string]bool{"other": true, "b.db2": true, "logs/x": true, "fleet@f/a": true, "b.db": true}
	var given []string
	fake.GoWrong(func(w http.ResponseWriter, r *http.Request) bool {
		_, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		switch {
		case r.Method == http.MethodDelete && r.URL.Query().Has("uploadId") && killed[name]:
			storetest.Answer(w, r, http.StatusForbidden, "AccessDenied")
			return true
		case r.Method == http.MethodDelete && r.URL.Query().Has("uploadId"):
			given = append(given, name)
		case r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "2" && killed[name]:
			storetest.Answer(w, r, http.StatusForbidden, "AccessDenied")
			return true
		}
		return false
	})
	for name := range killed {
		if err := s.Put(t.Context(), name, bytes.NewReader(large)); !errors.Is(err, store.ErrDenied) {
			t.Fatal(err)
		}
	}
	clear(killed)
	for _, c := range []struct{ put, gives string }{{"fleet@f/b", "[fleet@f/a]"}, {"b.db", "[b.db]"}, {"c", "[]"}} {
		given = nil
		if err := s.Put(t.Context(), c.put, bytes.NewReader(large)); err != nil || fmt.Sprint(given) != c.gives {
			t.Errorf("%s: %v; given up are the uploads of %v, want %s", c.put, err, given, c.gives)
		}
	}
}

// MinIO refuses to list what no name begins with.
func TestS3IsNotAskedForWhatCannotBe(t *testing.T) {
	fake := storetest.NewS3(t, false)
	s := open(t, fake.Place("p"), store.Options{})
	fake.GoWrong(nil)
	for _, prefix := range []string{"/", "..", "a//", "a/.", "a b", strings.Repeat("n", 201)} {
		if list, err := s.List(t.Context(), prefix); err != nil || len(list) > 0 || fake.Asked() > 0 {
			t.Errorf("%q: %v, %v, asked %d times", prefix, list, err, fake.Asked())
		}
	}
	if _, err := s.List(t.Context(), strings.Repeat("n", 200)); err != nil || fake.Asked() != 1 {
		t.Errorf("%v, asked %d times", err, fake.Asked())
	}
}

func TestS3ListsManyPages(t *testing.T) {
	fake := storetest.NewS3(t, false)
	for i := range 1500 {
		name := "p/" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + "/" + strconv.Itoa(i)
		fake.Replace(t, name, "x")
	}
	list, err := open(t, fake.Place("p"), store.Options{}).List(t.Context(), "")
	if err != nil || len(list) != 1500 {
		t.Errorf("%d objects, %v", len(list), err)
	}
}

// What cannot be sought in is kept in a file, which goes.
func TestS3KeepsNothing(t *testing.T) {
	fake := storetest.NewS3(t, false)
	dir := t.TempDir()
	s := open(t, fake.Place("p"), store.Options{TempDir: dir})
	large := strings.Repeat("large", 1<<19)
	if err := s.Put(t.Context(), "a", io.MultiReader(strings.NewReader(large))); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%v, %v: want nothing left", left, err)
	}
	at := strings.NewReader("not this, " + large)
	if _, err := at.Seek(10, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "b", at); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		r, err := s.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || string(got) != large {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}
