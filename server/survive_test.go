package server

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/console"
	"github.com/mimir-kv/mimir/server/replays"
)

// broken is an engine, and looks as a Looker, that panics.
type broken struct{ puts }

func (broken) Replay(context.Context, *replays.Means, string, bool, replays.Teller) error {
	panic("a tail like none before")
}

func (broken) look(context.Context, *admin.Client) (*console.Picture, error) {
	panic("a fleet like none before")
}

// A bug in what is shown to somebody, or done for him, is told to him and in the log: the node goes on.
func TestANodeSurvivesWhatItDoesForTheConsole(t *testing.T) {
	c, log := testConfig(t, "solo"), &logged{}
	runNodeWith(t, c, Options{Look: broken{}.look, Replays: broken{}, LogTo: log})
	client := etcdClient(t, c, TLS{})
	writes := func(ctx context.Context) bool {
		_, err := client.Put(ctx, "k", "v")
		return err == nil
	}
	eventually(t, "the node takes writes", writes)
	url := "http://" + c.ListenClient
	answer, err := http.Get(url + "/console/events")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	in := bufio.NewScanner(answer.Body)
	for in.Scan() && in.Text() != "event: silence" {
	}
	if in.Scan(); !strings.Contains(in.Text(), "a picture for the console: a fleet like none before") {
		t.Errorf("who looks is told %q, %v", in.Text(), in.Err())
	}
	s, code, text := askedReplay(t, http.DefaultClient, url, "", "POST", "", `{"tail":"t","dryRun":true}`)
	if s.Done || !strings.Contains(s.Error, "the replay of a tail: a tail like none before") {
		t.Errorf("who replays is told: %d %s", code, text)
	}
	eventually(t, "the node goes on", writes)
	for _, what := range []string{"a picture for the console", "the replay of a tail"} {
		if !strings.Contains(log.String(), `msg="the node goes on after a panic"`) ||
			!strings.Contains(log.String(), `in="`+what) {
			t.Errorf("the log tells nothing of %s", what)
		}
	}
}
