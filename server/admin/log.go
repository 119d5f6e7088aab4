package admin

import (
	"context"
	"encoding/json"
	"net/http"
)

// Log is how a node writes its log. In an order what is empty stays as it is.
type Log struct {
	Level  string `json:"level,omitempty"`  // debug, info, warn or error
	Format string `json:"format,omitempty"` // text or json
}

func (h *handler) tellLog(w http.ResponseWriter, _ *http.Request) {
	now, err := h.WriteLog(Log{})
	answer(w, now, err)
}

func (h *handler) setLog(w http.ResponseWriter, r *http.Request) {
	var to Log
	body := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	body.DisallowUnknownFields()
	if err := body.Decode(&to); err != nil {
		refuse(w, http.StatusBadRequest, "body: "+err.Error())
		return
	}
	now, err := h.WriteLog(to)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, now, nil)
}

// Log returns how the first endpoint that answers writes its log.
func (c *Client) Log(ctx context.Context) (*Log, error) {
	l := &Log{}
	return l, c.get(ctx, "/mimir/v1/log", l)
}

// SetLog sets how the log is written at the first endpoint that takes it: ask for one node at a time.
func (c *Client) SetLog(ctx context.Context, to Log) (*Log, error) {
	l := &Log{}
	return l, c.post(ctx, "/mimir/v1/log", to, l)
}
