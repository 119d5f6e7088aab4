package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	// maxParts is less than the 10000 that S3 allows.
	maxParts = 9000
	// tries of each request, with waits between them that grow, at most a second.
	tries = 6
	// abandonedAfter is how old an upload is that was neither completed nor given up: who began it is dead.
	abandonedAfter = 24 * time.Hour
	// farewell is how long it may take to give up an upload.
	farewell = 10 * time.Second
	// digestKey names the SHA-256 of an object among what is kept with it.
	digestKey = "Mimir-Sha256"
)

// partBytes is the least size of the parts in which what is larger is put; each is kept in memory as it is sent. Tests
// make it smaller.
var partBytes int64 = 16 << 20

// bucket is a store of the objects behind a prefix of a bucket.
type bucket struct {
	s3Place
	core  minio.Core
	wire  *wire
	stall time.Duration
	temp  string
}

func openBucket(where string, o Options) (Store, error) {
	place, err := parseS3(where)
	if err != nil {
		return nil, err
	}
	w, err := newWire(o.CAFile, o.Stall)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(place.endpoint, &minio.Options{
		Creds:  credentials.New(secrets{o.CredentialsFile}),
		Secure: !place.plain, Region: place.region, Transport: w, MaxRetries: tries,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPlace, shown(where), err)
	}
	return &bucket{s3Place: place, core: minio.Core{Client: client}, wire: w, stall: o.Stall, temp: o.TempDir}, nil
}

func (b *bucket) String() string { return b.text }

// failed says what an error of a request is.
func (b *bucket) failed(ctx context.Context, doing, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s in %s: %w", doing, name, b, b.explain(ctx, err))
}

func (b *bucket) Put(ctx context.Context, name string, r io.Reader) error {
	if err := CheckName(name); err != nil {
		return err
	}
	s, err := b.measure(ctx, r)
	if err == nil {
		err = errors.Join(b.put(ctx, b.key(name), s), s.close())
	}
	return b.failed(ctx, "put", name, err)
}

func (b *bucket) put(ctx context.Context, key string, s *source) error {
	o := minio.PutObjectOptions{
		UserMetadata: map[string]string{digestKey: s.digest}, ContentType: "application/octet-stream",
		DisableContentSha256: true, // that of the whole body is given
	}
	if s.size > partBytes {
		return b.putParts(ctx, key, s, o)
	}
	buffer := make([]byte, s.size)
	if err := s.next(buffer); err != nil {
		return err
	}
	if err := s.same(); err != nil {
		return err
	}
	md5, sha256 := sumsOf(buffer)
	_, err := b.core.PutObject(ctx, b.bucket, key, bytes.NewReader(buffer), s.size, md5, sha256, o)
	return err
}

// sumsOf returns what a storage knows by that a body came as it was sent: the one is signed, the other understood by
// those who do not look at that one.
func sumsOf(p []byte) (inBase64, inHex string) {
	m, s := md5.Sum(p), sha256.Sum256(p)
	return base64.StdEncoding.EncodeToString(m[:]), hex.EncodeToString(s[:])
}

// putParts puts what is large. An upload that fails is given up, so that nothing of it is kept and paid for; those of
// the dead are given up first.
func (b *bucket) putParts(ctx context.Context, key string, s *source, o minio.PutObjectOptions) error {
	b.sweep(ctx, key)
	id, err := b.core.NewMultipartUpload(ctx, b.bucket, key, o)
	if err != nil {
		return err
	}
	parts, err := b.sendParts(ctx, key, id, s)
	if err == nil {
		_, err = b.core.CompleteMultipartUpload(ctx, b.bucket, key, id, parts, minio.PutObjectOptions{})
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		_ = b.core.AbortMultipartUpload(ctx, b.bucket, key, id) // if it cannot be, the next one sweeps it
	}
	return err
}

func (b *bucket) sendParts(ctx context.Context, key, id string, s *source) ([]minio.CompletePart, error) {
	size := max(partBytes, (s.size/maxParts/partBytes+1)*partBytes)
	buffer := make([]byte, min(size, s.size))
	var parts []minio.CompletePart
	for at := int64(0); at < s.size; at += size {
		part := buffer[:min(size, s.size-at)]
		if err := s.next(part); err != nil {
			return nil, err
		}
		number := len(parts) + 1
		o := minio.PutObjectPartOptions{DisableContentSha256: true} // that of the whole body is given
		o.Md5Base64, o.Sha256Hex = sumsOf(part)
		done, err := b.core.PutObjectPart(ctx, b.bucket, key, id, number, bytes.NewReader(part), int64(len(part)), o)
		if err != nil {
			return nil, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: number, ETag: done.ETag})
	}
	return parts, s.same()
}

// sweep gives up the uploads of the dead behind the prefix. Where the place has none it is not of this store alone:
// those are given up that lie in the folder of key then, or are of key itself if that is in none. What it cannot do is
// left to the next.
func (b *bucket) sweep(ctx context.Context, key string) {
	of := cmp.Or(b.key(""), key[:strings.LastIndexByte(key, '/')+1])
	found, err := b.core.ListMultipartUploads(ctx, b.bucket, cmp.Or(of, key), "", "", "", 1000)
	if err != nil {
		return
	}
	now := time.Now().Add(time.Duration(b.wire.ahead.Load())) // of the storage
	for _, u := range found.Uploads {
		ours := (of != "" || u.Key == key) && CheckName(strings.TrimPrefix(u.Key, b.key(""))) == nil
		if ours && now.Sub(u.Initiated) > abandonedAfter {
			_ = b.core.AbortMultipartUpload(ctx, b.bucket, u.Key, u.UploadID)
		}
	}
}

func (b *bucket) List(ctx context.Context, prefix string) ([]Object, error) {
	return list(ctx, b, prefix)
}

func (b *bucket) Walk(ctx context.Context, prefix string, visit func(Object) error) error {
	if !begins(prefix) {
		return nil
	}
	within, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing, if it is left before its end
	for o := range b.core.Client.ListObjects(within, b.bucket,
		minio.ListObjectsOptions{Prefix: b.key(prefix), Recursive: true}) {
		if o.Err != nil {
			return b.failed(ctx, "list", fmt.Sprintf("%q", prefix), o.Err)
		}
		name := strings.TrimPrefix(o.Key, b.key(""))
		if CheckName(name) != nil {
			continue
		}
		if err := visit(Object{Name: name, Size: o.Size, Modified: o.LastModified}); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return b.failed(ctx, "list", fmt.Sprintf("%q", prefix), ctx.Err())
	}
	return nil
}

func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	err := b.core.RemoveObject(ctx, b.bucket, b.key(name), minio.RemoveObjectOptions{})
	if err = b.failed(ctx, "delete", name, err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
