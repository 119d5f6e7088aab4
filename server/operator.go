package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/mimir-kv/mimir/server/admin"
	"github.com/mimir-kv/mimir/server/operator"
)

// Operator says who is an operator, beside root, and where what operators do is told. If no one is named everybody is.
type Operator struct {
	// Allowed… are as those of [PeerRule]; a certificate has one of AllowedURIs.
	AllowedCN, AllowedHostnames, AllowedURIs []string
	// TokenFile has the tokens of operators.
	TokenFile string
	// AuditLog is a file, empty for the log of the node; AuditRequired refuses what it cannot be told.
	AuditLog      string
	AuditRequired bool
}

func (o *Operator) validate(client TLS) error {
	switch {
	case o.certificates().Set() && client.CA == "":
		return errors.New("operator.allowed-cn, allowed-hostname and allowed-uri need client-tls.ca")
	case o.AuditRequired && o.AuditLog == "":
		return errors.New("audit-log-required needs audit-log")
	}
	return nil
}

func (o *Operator) certificates() *operator.Certificates {
	return &operator.Certificates{
		AllowedCN: o.AllowedCN, AllowedHostnames: o.AllowedHostnames, AllowedURIs: o.AllowedURIs,
	}
}

// ways returns the settings by which somebody is an operator.
func (o *Operator) ways() (list []string) {
	for _, way := range []struct {
		key string
		set bool
	}{
		{"operator.allowed-cn", len(o.AllowedCN) > 0},
		{"operator.allowed-hostname", len(o.AllowedHostnames) > 0},
		{"operator.allowed-uri", len(o.AllowedURIs) > 0},
		{"operator.token-file", o.TokenFile != ""},
	} {
		if way.set {
			list = append(list, way.key)
		}
	}
	return list
}

// newGate opens what says who is an operator, and the audit log. root is the way by users and roles.
func (o *Operator) newGate(logger *slog.Logger, root ...operator.Link) (*operator.Gate, *operator.Audit, error) {
	links := []operator.Link{o.certificates()}
	if o.TokenFile != "" {
		tokens, err := operator.OpenTokens(o.TokenFile, logger)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: operator.token-file: %w", ErrConfig, err)
		}
		links = append(links, tokens)
	}
	audit, err := operator.OpenAudit(operator.AuditOptions{
		File: o.AuditLog, Required: o.AuditRequired, Logger: logger,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: audit-log: %w", ErrConfig, err)
	}
	return operator.NewGate(audit, append(links, root...)...), audit, nil
}

// operators says who is an operator on this node.
func (s *server) operators() string {
	switch ways := s.config.Operator.ways(); {
	case len(ways) > 0:
		return strings.Join(ways, ", ")
	case s.gate.Everybody():
		return admin.Everybody
	default:
		return "root"
	}
}

// openNow returns what is open to others on this node, and what to change.
func (s *server) openNow() []string {
	list := slices.Clone(s.advice)
	if c := s.config; s.operators() == admin.Everybody && (c.ClientTLS.Enabled() || exposed(c.ListenClient)) {
		list = append(list, "every client is an operator: it may move the primary, change members and save tails and "+
			"snapshots; set operator.allowed-cn, operator.allowed-hostname, operator.allowed-uri or "+
			"operator.token-file, on every node of every region")
	}
	if problem := s.audit.Figures().Problem; problem != "" {
		list = append(list, "audit-log cannot be written: "+problem)
	}
	return list
}

// tellWhoMay tells the log, once the store is there and with it users and roles.
func (s *server) tellWhoMay() {
	for _, text := range s.openNow() {
		s.logger.Warn("open to others", "err", text)
	}
	s.logger.Info("operators", "are", s.operators())
}

// heed opens the audit log anew, and reads the settings, whenever it is told to, until ctx ends.
func (s *server) heed(ctx context.Context, told <-chan struct{}, read func() (*Config, error)) {
	keys := newKeysTurn(s.config.EncryptionKeyFile, s.logger)
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
			reopenLog(s)
			if s.config.Operator.AuditLog != "" {
				s.reopen()
			}
			s.disk.rekeyInTime(keys, s.config.EncryptionKeyFile, s.logger)
			if read == nil {
				continue
			}
			if err := s.reload(read); err != nil {
				s.logger.Error("settings not read anew: all stay as they are", "err", err)
			}
		}
	}
}

func (s *server) reopen() {
	if err := s.audit.Reopen(); err != nil {
		s.logger.Error("audit-log not opened anew", "err", err)
	} else {
		s.logger.Info("audit-log opened anew", "file", s.config.Operator.AuditLog)
	}
}
