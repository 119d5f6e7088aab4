package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/minio/minio-go/v7"
)

// download is an object as it is read. What breaks off is gone on with from where it was, a few times in a row without
// a byte.
type download struct {
	b      *bucket
	ctx    context.Context
	name   string
	body   io.ReadCloser
	etag   string
	size   int64
	at     int64
	tries  int
	sum    hash.Hash
	digest string // as it was put; empty if it was put by others
	err    error
}

func (b *bucket) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	body, info, _, err := b.core.GetObject(ctx, b.bucket, b.key(name), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.failed(ctx, "get", name, err)
	}
	return &download{b: b, ctx: ctx, name: name, body: body, etag: info.ETag, size: info.Size, tries: tries,
		sum: sha256.New(), digest: info.UserMetadata[digestKey]}, nil
}

func (d *download) Read(p []byte) (int, error) {
	for d.err == nil {
		n, err := d.body.Read(p)
		d.sum.Write(p[:n])
		d.at += int64(n)
		if n > 0 {
			d.tries = tries
			return n, nil // err comes again
		}
		switch {
		case err == nil:
			return 0, nil
		case d.at == d.size && errors.Is(err, io.EOF):
			d.err = d.whole()
		default:
			d.err = d.resume(err)
		}
	}
	return 0, d.err
}

// whole returns io.EOF if all that came is what was put.
func (d *download) whole() error {
	if got := hex.EncodeToString(d.sum.Sum(nil)); d.digest != "" && got != d.digest {
		return fmt.Errorf("get %s in %s: %w: its SHA-256 is %s, and was %s", d.name, d.b, ErrChanged, got, d.digest)
	}
	return io.EOF
}

// resume goes on after cause from where it was.
func (d *download) resume(cause error) error {
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	if d.tries--; d.tries <= 0 || d.ctx.Err() != nil || d.at >= d.size {
		return d.b.failed(d.ctx, "get", d.name, fmt.Errorf("after %d of %d bytes: %w", d.at, d.size, cause))
	}
	var o minio.GetObjectOptions
	if err := errors.Join(o.SetRange(d.at, d.size-1), o.SetMatchETag(d.etag)); err != nil {
		return err
	}
	_ = d.body.Close()
	body, info, _, err := d.b.core.GetObject(d.ctx, d.b.bucket, d.b.key(d.name), o)
	if err != nil {
		d.body = io.NopCloser(nil)
		return d.b.failed(d.ctx, "get", d.name, err)
	}
	d.body = body
	if info.Size != d.size-d.at || info.ETag != d.etag {
		return fmt.Errorf("get %s in %s: %w: another was put in its place as it was read", d.name, d.b, ErrChanged)
	}
	return nil
}

func (d *download) Close() error { return d.body.Close() }
