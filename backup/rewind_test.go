package backup

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestRewind(t *testing.T) {
	written := 0
	r := NewRewind(t.Context(), func(w io.Writer) error {
		written++
		_, err := io.Copy(w, strings.NewReader(strings.Repeat("text", 1000)))
		return err
	})
	first := make([]byte, 100)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatal(err)
	}
	if at, err := r.Seek(0, io.SeekCurrent); at != 100 || err != nil {
		t.Error(at, err)
	}
	if _, err := r.Seek(50, io.SeekStart); err == nil {
		t.Error("went back to the middle")
	}
	for range 2 {
		if at, err := r.Seek(0, io.SeekStart); at != 0 || err != nil {
			t.Fatal(at, err)
		}
		if all, err := io.ReadAll(r); err != nil || len(all) != 4000 {
			t.Errorf("%d bytes, %v", len(all), err)
		}
	}
	if err := r.Close(); err != nil || written != 3 {
		t.Errorf("written %d times, %v", written, err)
	}
	torn := errors.New("torn")
	r = NewRewind(t.Context(), func(io.Writer) error { return torn })
	if _, err := io.ReadAll(r); !errors.Is(err, torn) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewRewind(ctx, nil).Read(first); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
