package server

import (
	"bytes"
	"fmt"
	"os"

	grpctransport "github.com/mimir-kv/mimir/replication/transport/grpc"
)

// fleetKeys reads the keys of a fleet, one a line, the one that is sent first; none if there is no file.
func fleetKeys(file string) (keys [][]byte, err error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: fleet-key-file: %w", ErrConfig, err)
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		switch {
		case len(line) == 0 || line[0] == '#':
		case len(line) < grpctransport.MinKeyBytes:
			return nil, fmt.Errorf("%w: fleet-key-file %s: a key of %d characters, at least %d are needed",
				ErrConfig, file, len(line), grpctransport.MinKeyBytes)
		default:
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: fleet-key-file %s: no key is in it", ErrConfig, file)
	}
	return keys, nil
}
