package replays

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/plain"
)

// Handlers returns what is served, by pattern. Each needs the operator's right.
//
//	GET  /mimir/v1/replay              the replay under way, or the last one                 State
//	                                   ?follow=true: one a line, until it is over
//	POST /mimir/v1/replay              Order; how it goes, one State a line, until it is over
//	POST /mimir/v1/replay/stop         {}; what was under way                                State
//	GET  /mimir/v1/replay/tails        tails of all nodes that can be asked                  List
//	GET  /mimir/v1/replay/tails/{name} the first writes of one                               [admin.Write]
func (r *Runner) Handlers() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /mimir/v1/replay":              http.HandlerFunc(r.tell),
		"POST /mimir/v1/replay":             http.HandlerFunc(r.order),
		"POST /mimir/v1/replay/stop":        http.HandlerFunc(r.halt),
		"GET /mimir/v1/replay/tails":        http.HandlerFunc(r.tails),
		"GET /mimir/v1/replay/tails/{name}": http.HandlerFunc(r.writes),
	}
}

func (r *Runner) order(w http.ResponseWriter, req *http.Request) {
	var o Order
	body := json.NewDecoder(http.MaxBytesReader(w, req.Body, mostBody))
	body.DisallowUnknownFields()
	if err := body.Decode(&o); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("body: %w", err))
		return
	}
	if o.Tail == "" || !o.DryRun && (o.Region == "" || o.Epoch == 0) {
		refuse(w, http.StatusBadRequest, errors.New(`body: "tail" names a tail, and without "dryRun" "region" and `+
			`"epoch" are those of the primary`))
		return
	}
	m, err := r.options.Means(req)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	j, ctx, cancel, err := r.begin(req, o)
	if err != nil {
		m.Close()
		refuse(w, http.StatusConflict, err)
		return
	}
	go func() {
		defer close(j.over)
		defer m.Close()
		defer cancel()
		err := r.run(ctx, j, o, m)
		j.end(err)
		if s, _, _ := j.now(); !o.DryRun {
			r.options.Ended(s.By, s.outcome(), s.Epoch, err)
		}
	}()
	if err := follow(w, req.Context(), j, true); err != nil {
		operator.Failed(req.Context(), err)
	}
}

// follow tells how a replay goes, as long as somebody listens, and returns how it ended; who stays waits for that
// though nobody listens any more.
func follow(w http.ResponseWriter, viewer context.Context, j *job, stays bool) error {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	out, connection := json.NewEncoder(w), http.NewResponseController(w)
	again := time.NewTicker(tellAgain)
	defer again.Stop()
	for listens := true; ; {
		s, changed, err := j.now()
		if listens = listens && viewer.Err() == nil; listens {
			listens = out.Encode(&s) == nil && connection.Flush() == nil
		}
		if !s.Running || !listens && !stays {
			return err
		}
		pause := time.NewTimer(tellEvery)
		<-pause.C
		select {
		case <-changed:
		case <-again.C:
		}
	}
}

func (r *Runner) tell(w http.ResponseWriter, req *http.Request) {
	j := r.known()
	if j == nil {
		answer(w, &State{Node: r.options.Node, Doing: noneBefore})
		return
	}
	if req.URL.Query().Get("follow") == "" {
		s, _, _ := j.now()
		answer(w, &s)
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), r.options.lasts())
	defer cancel()
	follow(w, ctx, j, false) //nolint:errcheck // how it ended is told to who ordered it
}

func (r *Runner) halt(w http.ResponseWriter, req *http.Request) {
	j := r.known()
	if j == nil {
		refuse(w, http.StatusConflict, errors.New(noneBefore))
		return
	}
	s, _, _ := j.now()
	if !s.Running {
		refuse(w, http.StatusConflict, errors.New("nothing is under way: the last replay is over"))
		return
	}
	j.stop(fmt.Errorf("%w by %s", ErrStopped, operator.Who(req.Context())))
	answer(w, &s)
}

func (r *Runner) tails(w http.ResponseWriter, req *http.Request) {
	r.look(w, req, func(ctx context.Context, m *Means) (any, error) { return r.options.Engine.Tails(ctx, m) })
}

func (r *Runner) writes(w http.ResponseWriter, req *http.Request) {
	r.look(w, req, func(ctx context.Context, m *Means) (any, error) {
		return r.options.Engine.Writes(ctx, m, req.PathValue("name"), MostShown)
	})
}

// look answers what changes nothing.
func (r *Runner) look(w http.ResponseWriter, req *http.Request, ask func(context.Context, *Means) (any, error)) {
	m, err := r.options.Means(req)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(req.Context(), lookTime)
	defer cancel()
	v, err := ask(ctx, m)
	if err != nil {
		refuse(w, statusOf(err), err)
		return
	}
	answer(w, v)
}

// statusOf is that of a node which was asked, if it is one's.
func statusOf(err error) int {
	var answered *admin.Error
	if errors.As(err, &answered) && answered.Status >= http.StatusBadRequest {
		return answered.Status
	}
	return http.StatusNotFound
}

func answer(w http.ResponseWriter, v any) {
	text, err := admin.Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(text, '\n')) //nolint:errcheck // the client is gone
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(admin.Error{Text: plain.Text(err)}) //nolint:errcheck // the client is gone
}
