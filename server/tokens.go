package server

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/mimir-kv/mimir/etcdapi/token"
	"github.com/mimir-kv/mimir/replication/clock"
)

const tokenSimple = "simple"

func (c *Config) validateTokens() error {
	if _, err := token.Parse(c.AuthToken); err != nil {
		return fmt.Errorf("auth-token %w", err)
	}
	return nil
}

// tokens returns what clients get that log in.
func (c *Config) tokens(logger *slog.Logger) (token.Tokens, error) {
	if c.AuthToken == tokenSimple {
		return token.NewSimple(c.AuthTokenTTL, clock.Real), nil
	}
	spec, err := token.Parse(c.AuthToken)
	if err != nil {
		return nil, err
	}
	return token.NewJWT(spec, os.ReadFile, clock.Real, logger)
}
