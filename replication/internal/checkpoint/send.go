package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mimir-kv/mimir/replication/durable"
)

// Send offers the files of dir, as m describes them, and serves what the receiver asks for. A nil error says that the
// receiver has everything, verified and durable; ErrReceiver that it gave up, ErrSilent that it hangs. It ends with
// ctx, but for what this side's disk takes to read a chunk.
func Send(ctx context.Context, l Line, fs durable.FS, dir string, m *Manifest) error {
	offer, err := m.AppendBinary([]byte{kindManifest})
	if err != nil {
		return err
	}
	to := l.Stream.Peer()
	if err := l.send(ctx, offer); err != nil {
		return fmt.Errorf("checkpoint: send to %s: %w", to, err)
	}
	for {
		p, err := l.recv(ctx, l.patience(), nil)
		if err != nil {
			return fmt.Errorf("checkpoint: send to %s: %w", to, err)
		}
		switch {
		case len(p) == 1 && p[0] == kindDone:
			return nil
		case len(p) > 0 && p[0] == kindFailed:
			return l.failed(p)
		}
		wants, err := decodeWants(p, m)
		if err != nil {
			return err
		}
		for _, w := range wants {
			if err := sendFile(ctx, &l, fs, dir, m, w); err != nil {
				return fmt.Errorf("checkpoint: send %s to %s: %w", m.Files[w.file].Name, to, err)
			}
		}
	}
}

func sendFile(ctx context.Context, l *Line, fs durable.FS, dir string, m *Manifest, w want) error {
	size := m.Files[w.file].Bytes
	if w.offset == size {
		return nil
	}
	f, err := fs.Open(path(dir, m.Files[w.file].Name))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnread, err)
	}
	defer f.Close()
	for offset := w.offset; offset < size; {
		n := min(chunkBytes, size-offset)
		p := make([]byte, chunkHeader+n)
		if got, err := f.ReadAt(p[chunkHeader:], offset); int64(got) < n {
			if err == nil || errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: ends at byte %d, the manifest says %d", ErrCorrupt, offset+int64(got), size)
			}
			return fmt.Errorf("%w: %w", ErrUnread, err)
		}
		sealChunk(p, w.file, offset)
		if err := l.send(ctx, p); err != nil {
			return err
		}
		offset += n
	}
	return nil
}
