package telemetry

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication"
)

// What nobody knows of a copy is no figure, and nothing is exported where none is taken.
func TestMetricsOfACopy(t *testing.T) {
	h := replication.HealthStatus{State: replication.StateReady}
	ofCopy := func() (names []string) {
		for _, name := range slices.Sorted(maps.Keys(series(t, &h))) {
			if strings.HasPrefix(name, "copy") || strings.HasPrefix(name, "bootstrap") {
				names = append(names, name)
			}
		}
		return names
	}
	for _, c := range []struct {
		why  string
		node *replication.Transfer
		its  *replication.Bootstrap
		want string
	}{
		{"none", nil, nil, ""},
		{"nothing was told yet", &replication.Transfer{Phase: "asking"}, nil, "copy_quiet_seconds copy{asking}"},
		{"the source makes it", &replication.Transfer{Phase: "making", DoneBytes: new(int64(7)),
			BytesPerSecond: new(2.5)}, nil, "copy_bytes_per_second copy_done_bytes copy_quiet_seconds copy{making}"},
		{"it comes", &replication.Transfer{Phase: "fetching", DoneBytes: new(int64(7)), TotalBytes: new(int64(9)),
			BytesPerSecond: new(2.5), LeftSeconds: new(0.8)},
			&replication.Bootstrap{Transfer: replication.Transfer{Phase: "fetching"}},
			"bootstrap{fetching} copy_bytes_per_second copy_done_bytes copy_left_seconds copy_quiet_seconds " +
				"copy_total_bytes copy{fetching}"},
	} {
		h.Transfer, h.Bootstrap = c.node, c.its
		if got := strings.Join(ofCopy(), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.why, got, c.want)
		}
	}
}
