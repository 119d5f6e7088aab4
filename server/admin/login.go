package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// login is a user of the fleet, and the token that he got last.
type login struct {
	name, password string

	mu    sync.Mutex
	token string
}

// WithUser returns a client that logs in as a user of the fleet where it is refused otherwise, unless it has an
// operator's token, and shares everything else with c. One that was given TLS logs in nowhere without, but at sockets
// of this machine.
func (c *Client) WithUser(name, password string) *Client {
	other := *c
	other.login = &login{name: name, password: password}
	return &other
}

func (l *login) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

// again logs in at a node.
func (l *login) again(ctx context.Context, c *Client, endpoint string) (token string, err error) {
	if _, _, socket := socketOf(endpoint); c.secure && !socket && !strings.HasPrefix(endpoint, "https://") {
		return "", fmt.Errorf("%s has no TLS: the password is not sent there", endpoint)
	}
	body, err := json.Marshal(map[string]string{"name": l.name, "password": l.password})
	if err != nil {
		return "", err
	}
	answer, err := c.send(ctx, http.MethodPost, endpoint, "/v3/auth/authenticate", "", body)
	if err != nil {
		return "", fmt.Errorf("log in as %s: %w", l.name, err)
	}
	defer answer.Close()
	var got struct{ Token string }
	if err := json.NewDecoder(answer).Decode(&got); err != nil || got.Token == "" {
		return "", fmt.Errorf("log in as %s at %s: no token in the answer: %w", l.name, endpoint, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.token = got.Token
	return got.Token, nil
}
