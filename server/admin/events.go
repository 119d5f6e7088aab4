package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/events"
	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/plain"
)

// Events is a node's event log. Events' Log is one.
type Events interface {
	Add(replication.Event)
	Read(ctx context.Context, q events.Question) events.Page
}

// mostWait bounds for how long a question about events may wait for one.
const mostWait = 30 * time.Second

func (h *handler) tellEvents(w http.ResponseWriter, r *http.Request) {
	q, err := questionOf(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, h.Events.Read(r.Context(), q), nil)
}

func questionOf(v url.Values) (q events.Question, err error) {
	q.Log, q.Region = v.Get("log"), v.Get("region")
	if text := v.Get("after"); text != "" {
		if q.After, err = strconv.ParseUint(text, 10, 64); err != nil {
			return q, fmt.Errorf("after: not a number: %s", text)
		}
	}
	if text := v.Get("since"); text != "" {
		if q.Since, err = time.Parse(time.RFC3339, text); err != nil {
			return q, fmt.Errorf("since: not a time as 2026-01-02T15:04:05Z: %s", text)
		}
	}
	if text := v.Get("wait"); text != "" {
		if q.Wait, err = time.ParseDuration(text); err != nil || q.Wait < 0 || q.Wait > mostWait {
			return q, fmt.Errorf("wait: a duration of at most %s: %s", mostWait, text)
		}
	}
	return q, nil
}

// Events asks for a node's events. What it waits is added to the time within which the node has to answer.
func (c *Client) Events(ctx context.Context, q events.Question) (*events.Page, error) {
	v := url.Values{}
	for key, text := range map[string]string{"log": q.Log, "region": q.Region} {
		if text != "" {
			v.Set(key, text)
		}
	}
	if q.After > 0 {
		v.Set("after", strconv.FormatUint(q.After, 10))
	}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.Format(time.RFC3339Nano))
	}
	if q.Wait > 0 {
		v.Set("wait", q.Wait.String())
	}
	out := &events.Page{}
	return out, c.getWithin(ctx, c.answer+q.Wait, "/mimir/v1/events?"+v.Encode(), out)
}

// ordered keeps what an operator ordered, and how it ended.
func (h *handler) ordered(r *http.Request, o replication.Order, e replication.Event, err error) {
	o.By = operator.Who(r.Context())
	if err != nil {
		o.Err = plain.Text(err)
	}
	e.Kind, e.Order, e.Region = replication.EventOrdered, &o, h.Replicator.Health().Region
	h.Events.Add(e)
}

// orderedMove is ordered of a switchover or failover.
func (h *handler) orderedMove(r *http.Request, op string, in *Move, report *replication.MoveReport, err error) {
	o, e := replication.Order{Op: op, What: "to " + in.To}, replication.Event{Other: in.To}
	switch {
	case in.At != nil:
		o.What += ", by force, from a point in the past on"
	case in.Force:
		o.What += ", by force"
	case in.AcceptLoss != nil:
		o.What += fmt.Sprintf(", accepting that %d commands are lost", *in.AcceptLoss)
	}
	if err == nil {
		e.Epoch, e.Position, e.Lossy = report.Epoch, report.Position, report.Lossy
		o.Pause, o.Loss = report.Pause, report.Loss
		if report.From != "" {
			o.What = "from " + report.From + " " + o.What
		}
		if report.BehindKnown {
			o.Behind = &report.Behind
		}
	}
	h.ordered(r, o, e, err)
}

// orderedCharter is ordered of what changes who votes, and how.
func (h *handler) orderedCharter(r *http.Request, op, what string, c *replication.Charter, err error) {
	e := replication.Event{}
	if err == nil && c != nil {
		e.Epoch = c.Epoch
	}
	h.ordered(r, replication.Order{Op: op, What: what}, e, err)
}

// orderedReign is ordered of what begins an epoch.
func (h *handler) orderedReign(r *http.Request, op, region string, reign *replication.Reign, err error) {
	e := replication.Event{Other: region}
	if err == nil && reign != nil {
		e.Epoch, e.Position, e.Lossy = reign.Epoch, max(reign.First, 1)-1, reign.Lossy
	}
	h.ordered(r, replication.Order{Op: op, What: "region " + region}, e, err)
}
