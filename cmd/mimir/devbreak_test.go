//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// A newcomer breaks a link and a region of the fleet that runs, sees it, and has it back.
func TestDevBreaks(t *testing.T) {
	f, _, _ := startDev(t, "--regions", "us,eu", "--nodes", "1")
	us, eu := f.Regions[0].Nodes[0], f.Regions[1].Nodes[0]
	dir := filepath.Dir(filepath.Dir(us.DataDir))
	order := func(want int, arguments ...string) string {
		t.Helper()
		code, text, errs := mimir(t, append([]string{"dev", "--data-dir", dir}, arguments...)...)
		if code != want {
			t.Fatalf("%s: %d %s%s", arguments, code, text, errs)
		}
		return text + errs
	}
	put(t, us.Client, "together")
	put(t, us.Client, "together")
	order(exitDone, "break", "link", "us-eu")
	eventually(t, "eu is silent", func() bool { return status(t, us.Client).region("eu").Role == "" })
	put(t, us.Client, "while they were apart")
	order(exitDone, "heal")
	eventually(t, "eu follows", func() bool { return status(t, us.Client).region("eu").Position == 3 })
	order(exitDone, "break", "region", "us")
	eventually(t, "us is gone", func() bool {
		code, _, errs := mimir(t, "status", "--endpoints", us.Client)
		return code == exitFailed && strings.Contains(errs, "no endpoint answered")
	})
	order(exitDone, "heal", "region", "us")
	eventually(t, "us is back", func() bool {
		code, _, _ := mimir(t, "status", "--endpoints", us.Client)
		return code == exitDone && status(t, eu.Client).region("us").Position == 3
	})
	if text := order(exitUsage, "break", "region", "mars"); !strings.Contains(text, "there are us, eu") {
		t.Error(text)
	}
	order(exitUsage, "break", "us")
	if text := order(exitUsage, "break", "planet", "mars"); !strings.Contains(text, `"planet" is none of node`) {
		t.Error(text)
	}
}

// Who has the port of a node, and sends on to elsewhere, is not the node: nobody goes there, and nobody is well by it.
func TestDevGoesNowhereElse(t *testing.T) {
	visited := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited = true }))
	defer elsewhere.Close()
	other := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer other.Close()
	if err := readBarrier(t.Context(), strings.TrimPrefix(other.URL, "http://")); err == nil || visited {
		t.Errorf("%v, visited %v", err, visited)
	}
}
