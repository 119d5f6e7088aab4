package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/mimir-kv/mimir/replication/durable"
	"github.com/mimir-kv/mimir/replication/durable/atrest"
	"github.com/mimir-kv/mimir/server/door"
	"github.com/mimir-kv/mimir/server/operator"
	"github.com/mimir-kv/mimir/server/trust"
)

// Check finds everything for which a node with this configuration would not start on this machine now, without starting
// it: what the settings say, the files that they name, the addresses, the data directory. Each fault is an ErrConfig of
// one line. Nothing is changed; warnings are what the node would say and start all the same.
func Check(
	file string, lookupEnv func(string) (string, bool), flags *pflag.FlagSet,
) (c *Config, warnings []string, wrong []error) {
	c, f := load(file, lookupEnv, flags)
	f.checkFiles(c)
	f.checkAddresses(c)
	if c.Replication.DataDir != "" {
		f.checkDirectory(c)
	}
	warnings, err := c.fit(thisMachine(c.Replication.DataDir))
	f.addError(err)
	return c, append(append(c.notes, warnings...), c.advice()...), f
}

// checkFiles reads what the settings name.
func (f *faults) checkFiles(c *Config) {
	quiet := slog.New(slog.DiscardHandler)
	o, err := c.Handshakes.options()
	known := err == nil
	for _, b := range []struct {
		key   string
		block TLS
	}{
		{"client-tls", c.ClientTLS}, {"peer-tls", c.PeerTLS}, {"region-tls", c.RegionTLS}, {"http-tls", c.HTTPTLS},
		{"tracing", c.Tracing.files()},
	} {
		if !known || !b.block.Enabled() || b.block.validate(b.key != "region-tls" && b.key != "tracing") != nil {
			continue // which was told
		}
		o.Logger = quiet
		keeper := trust.New(o)
		if b.block.Cert == "" {
			_, err = keeper.Dialer(b.block.block(b.key))
		} else {
			_, err = keeper.Listener([]string{"h2"}, b.block.block(b.key))
		}
		if err == nil && b.block.ClientCert != "" {
			_, err = keeper.Dialer(b.block.dialing(b.key)...)
		}
		if err != nil {
			f.add("%s: %w", b.key, err)
		} else if r := keeper.Report(); r != nil {
			c.notes = append(c.notes, r.Strange...)
		}
	}
	_, err = fleetKeys(c.FleetKeyFile)
	f.addError(err)
	if c.Operator.TokenFile != "" {
		if _, err := operator.OpenTokens(c.Operator.TokenFile, quiet); err != nil {
			f.add("operator.token-file: %w", err)
		}
	}
	f.addError(c.checkPartialRegions(quiet))
	if c.validateTokens() == nil {
		if _, err := c.tokens(quiet); err != nil {
			f.add("auth-token: %w", err)
		}
	}
	if log := c.Operator.AuditLog; log != "" {
		f.addError(appendable("audit-log", log))
	}
	for _, path := range logFiles(c.LogOutputs) {
		f.addError(appendable("log-outputs", path))
	}
	if c.Backup.To != "" && c.Backup.CAFile != "" {
		_, err = c.Backup.place()
		f.addError(err)
	}
	if c.Archive.To != "" && c.Backup.CAFile != "" {
		_, err = c.archivePlace()
		f.addError(err)
	}
	_, err = door.Split(door.Limit(), c.MaxConnections)
	f.addError(err)
}

// checkAddresses binds what is to be bound, for a moment.
func (f *faults) checkAddresses(c *Config) {
	for _, one := range []struct{ key, list string }{
		{"listen-client", c.ListenClient}, {"listen-peer", c.ListenPeer}, {"listen-http", c.ListenHTTP},
	} {
		for _, a := range addresses(one.list) {
			if err := a.Check(c.listens()); err != nil {
				f.add("%s %w", one.key, err)
			}
		}
	}
}

// checkDirectory looks whether a node can use the data directory, and nobody else does.
func (f *faults) checkDirectory(c *Config) {
	dir := c.Replication.DataDir
	explain := func(err error) { f.addError(aNode.explained(dir, err)) }
	if err := checkPlace(dir); err != nil {
		f.addError(err)
		return
	}
	d := &disk{dir: dir, store: true}
	if c.EncryptionKeyFile != "" {
		var err error
		if d.keys, err = readKeys(c.EncryptionKeyFile); err != nil {
			f.addError(err)
			return
		}
	}
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		explain(writable("data-dir", dir))
		return
	}
	if r, free, err := roomOf(c); err == nil {
		explain(r.ballast.Lacks(free))
	}
	if err := writable("data-dir", dir); err != nil {
		explain(err)
		return
	}
	if _, err := os.Stat(filepath.Join(dir, lockFile)); err == nil {
		held, err := durable.OS.Lock(filepath.Join(dir, lockFile))
		if err != nil {
			explain(err)
			return // what another process writes is not to be judged
		}
		defer held.Close()
	}
	if _, err := os.Stat(filepath.Join(dir, encryptedFile)); err == nil || c.EncryptionKeyFile != "" {
		if err := d.check(); err != nil {
			explain(err)
			return
		}
	}
	node := c.Replication
	if c.EncryptionKeyFile != "" {
		d.fs = atrest.New(d.below(), d.keys)
		node.FS = d.libraryFS()
	}
	explain(node.CheckDirectory())
}

// writable finds that nothing can be made in a directory, or where it would be made.
func writable(key, dir string) error {
	above, err := filepath.Abs(dir)
	for err == nil {
		if _, err := os.Stat(above); !errors.Is(err, fs.ErrNotExist) || above == filepath.Dir(above) {
			break
		}
		above = filepath.Dir(above)
	}
	if err == nil {
		err = fertile(above)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// appendable finds that a file cannot be appended to, or not be made where it is not: no directory is made for it.
func appendable(key, path string) error {
	to, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|syscall.O_NONBLOCK, 0)
	switch {
	case err == nil:
		err = to.Close()
	case errors.Is(err, fs.ErrNotExist):
		err = fertile(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// fertile finds that nothing can be made in a directory.
func fertile(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	probe, err := os.CreateTemp(dir, ".mimir-check-")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}
