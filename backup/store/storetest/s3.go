package storetest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// The keys that S3 takes.
const (
	AccessKey = "the-id-of-a-key"
	SecretKey = "hush-the-secret"
	Bucket    = "backups"
)

// S3 is an object storage in memory, on loopback, with one bucket.
type S3 struct {
	*httptest.Server
	Backend gofakes3.Backend

	mu    sync.Mutex
	wrong func(http.ResponseWriter, *http.Request) bool
	asked int
}

// NewS3 starts one, which ends with the test, and puts its keys into the environment. It knows the ID of its key, but
// no signatures.
func NewS3(t *testing.T, tls bool, options ...gofakes3.Option) *S3 {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", SecretKey)
	for _, name := range []string{"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	s := &S3{Backend: s3mem.New()}
	if err := s.Backend.CreateBucket(Bucket); err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewUnstartedServer(s.handler(gofakes3.New(s.Backend, options...).Server()))
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// Place returns the text of a place in the bucket.
func (s *S3) Place(prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=%s", Bucket, prefix, s.URL)
}

// Replace makes a key hold text, with what is kept beside it as it was.
func (s *S3) Replace(t *testing.T, key, text string) {
	t.Helper()
	beside := map[string]string{}
	if old, err := s.Backend.HeadObject(Bucket, key); err == nil {
		beside = old.Metadata
	}
	if _, err := s.Backend.PutObject(Bucket, key, beside, strings.NewReader(text), int64(len(text)), nil); err != nil {
		t.Error(err)
	}
}

// GoWrong makes f be asked first about each request: if it returns true, it has answered.
func (s *S3) GoWrong(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong, s.asked = f, 0
}

// Asked returns how many requests came since GoWrong.
func (s *S3) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *S3) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked++
		wrong := s.wrong
		s.mu.Unlock()
		if wrong != nil && wrong(w, r) {
			return
		}
		_, id, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
		if id, _, _ = strings.Cut(id, "/"); id != AccessKey {
			Answer(w, r, http.StatusForbidden, "InvalidAccessKeyId")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Answer answers a request with an error of S3.
func Answer(w http.ResponseWriter, r *http.Request, status int, code string) {
	_, _ = io.Copy(io.Discard, r.Body) // so that who sends hears it
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>as a test wants it</Message></Error>`, code)
}
