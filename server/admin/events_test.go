package admin

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/events"
)

// TestWhatIsOrderedIsAnEvent, with how it ended.
func TestWhatIsOrderedIsAnEvent(t *testing.T) {
	c := serve(t, &fake{whole: -1})
	ctx := t.Context()
	if _, err := c.Switchover(ctx, "eu"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Switchover(ctx, "mars"); err == nil {
		t.Fatal("no error")
	}
	if _, err := c.FailoverWithin(ctx, "eu", 7); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Found(ctx, "eu"); err != nil {
		t.Fatal(err)
	}
	var list []events.Record
	for q := (events.Question{Wait: 10 * time.Second}); len(list) < 4; {
		page, err := c.Events(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if page.Node != "us-1" || page.Region != "us" || len(page.Events) == 0 {
			t.Fatalf("%+v", page)
		}
		list = append(list, page.Events...)
		q.Log, q.After = page.Log, page.Last
	}
	want := []replication.Order{
		{Op: "switchover", What: "to eu"}, {Op: "switchover", What: "to mars", Err: `unknown region: "mars"`},
		{Op: "failover", What: "to eu, accepting that 7 commands are lost"}, {Op: "fleet init", What: "region eu"},
	}
	for i, r := range list {
		o := r.Order
		if r.Kind != replication.EventOrdered || r.Region != "us" || o == nil || o.Op != want[i].Op ||
			o.What != want[i].What || !strings.HasSuffix(o.Err, want[i].Err) || (o.Err == "") != (want[i].Err == "") {
			t.Errorf("%+v, %+v, want %+v", r, o, want[i])
		}
	}
	if list[0].Epoch != 2 || list[3].Epoch != 1 {
		t.Errorf("epochs %d and %d", list[0].Epoch, list[3].Epoch)
	}
	if page, err := c.Events(ctx, events.Question{Region: "mars"}); err != nil || len(page.Events) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestAQuestionAboutEventsIsChecked(t *testing.T) {
	c := serve(t, &fake{})
	for _, query := range []string{"after=-1", "since=yesterday", "wait=1h", "wait=-1s", "wait=long"} {
		var refused *Error
		err := c.get(t.Context(), "/mimir/v1/events?"+query, nil)
		if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
			t.Errorf("%s: %v", query, err)
		}
	}
	v, _ := url.ParseQuery("after=7&since=2026-01-02T03:04:05Z&wait=3s&region=eu&log=ab")
	q, err := questionOf(v)
	want := events.Question{After: 7, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Wait: 3 * time.Second,
		Region: "eu", Log: "ab"}
	if err != nil || q != want {
		t.Errorf("%+v, %v", q, err)
	}
}
