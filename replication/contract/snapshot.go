package contract

import "io"

// SnapshotBytes returns a Snapshot whose content is p, for engines that are small enough to write themselves out at
// once. p must not be changed afterwards.
func SnapshotBytes(p []byte) Snapshot { return bytesSnapshot(p) }

type bytesSnapshot []byte

func (s bytesSnapshot) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(s)
	return int64(n), err
}

func (bytesSnapshot) Close() error { return nil }
