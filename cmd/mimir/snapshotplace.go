package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mimir-kv/mimir/backup"
	"github.com/mimir-kv/mimir/backup/store"
	"github.com/mimir-kv/mimir/backup/whole"
)

// places is how a command reaches places of package store, and where it keeps a file meanwhile.
type places struct {
	store.Options
	work string // empty: the machine's
}

const placeHelp = "\nFILE may be a path, or the URL of an object: file:///dir/name, or\n" +
	"s3://bucket/prefix/name?endpoint=https://host:port&region=name, with the keys in AWS_ACCESS_KEY_ID and\n" +
	"AWS_SECRET_ACCESS_KEY, or in a file."

func (p *places) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&p.CredentialsFile, "backup-credentials-file", os.Getenv("MIMIR_BACKUP_CREDENTIALS_FILE"),
		"file of the keys for s3://, as AWS's tools have it")
	f.StringVar(&p.CAFile, "backup-ca-file", os.Getenv("MIMIR_BACKUP_CA_FILE"),
		"PEM file: authorities trusted to sign the object storage; default: the machine's")
	p.addWorkFlag(c)
}

func (p *places) addWorkFlag(c *cobra.Command) {
	c.Flags().StringVar(&p.work, "work-dir", "",
		"where files lie meanwhile, as large as the snapshot; default: the machine's for temporary files")
}

// store returns the store that a place is. What cannot be one is wrong usage.
func (p *places) store(place string) (store.Store, error) {
	s, err := store.Open(place, p.Options)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return s, nil
}

// object returns the store that the URL of an object is in, and its name there.
func (p *places) object(where string) (store.Store, string, error) {
	place, name, err := store.Split(where)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errUsage, err)
	}
	s, err := p.store(place)
	return s, name, err
}

// save saves a snapshot to a place.
func (p *places) save(
	ctx context.Context, where string, save func(file string) (*backup.Snapshot, error),
) (s *backup.Snapshot, err error) {
	err = p.put(ctx, where, func(file string) (err error) {
		s, err = save(file)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.Path = where
	return s, nil
}

// put makes a file below the work directory, and brings it to a place.
func (p *places) put(ctx context.Context, where string, makes func(file string) error) (err error) {
	to, name, err := p.object(where)
	if err != nil {
		return err
	}
	there, err := to.List(ctx, name) // before: what is wrong with the place is told at once
	if err != nil {
		return err
	}
	if len(there) > 0 && there[0].Name == name {
		return fmt.Errorf("%s in %s: %w", name, to, os.ErrExist)
	}
	dir, err := os.MkdirTemp(p.work, "mimir-snapshot-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "snapshot")
	if err := makes(file); err != nil && !errors.Is(err, whole.ErrNotDurable) { // it need not outlast this
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return to.Put(ctx, name, f)
}

// fetch calls use with the file that where is, or a copy of the object that it is, which is removed afterwards.
func (p *places) fetch(ctx context.Context, where string, use func(file string) error) (err error) {
	if !store.IsPlace(where) {
		return use(where)
	}
	from, name, err := p.object(where)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(p.work, "mimir-snapshot-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "snapshot")
	if err := fetchTo(ctx, from, name, file); err != nil {
		return err
	}
	return use(file)
}

func fetchTo(ctx context.Context, from store.Store, name, file string) error {
	r, err := from.Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// open takes the snapshot that where is, if it is whole, and calls use with it.
func (p *places) open(ctx context.Context, where string, use func(*backup.Snapshot) error) error {
	return p.fetch(ctx, where, func(file string) error {
		s, err := backup.OpenUntil(ctx, file)
		if err != nil {
			if file != where {
				return fmt.Errorf("%s: %w", where, err)
			}
			return err
		}
		return use(s)
	})
}
