package server

import (
	"slices"
	"testing"
)

// A variable that is called nearly as a setting is told, and no other: not those of other commands, nor of Kubernetes.
func TestAMistypedVariableIsTold(t *testing.T) {
	got := StrangeVariables([]string{
		"MIMIR_BACKUP_REGOIN=eu", "MIMIR_NODE=a=b:1", "MIMIR_BACKUP_REGION=eu", "MIMIR_KEY=k", "HOME=/root",
		"MIMIR_PORT=tcp://10.0.0.1:2379", "MIMIR_SERVICE_HOST=10.0.0.1", "MIMIR_PORT_2379_TCP=x", "MIMIR_WHATEVER=1",
		"MIMIR_USER=root", "MIMIR_CONFIG=/etc/mimir.yaml",
	})
	want := []string{"MIMIR_BACKUP_REGOIN is no setting, and means nothing: did you mean MIMIR_BACKUP_REGION?",
		"MIMIR_NODE is no setting, and means nothing: did you mean MIMIR_NODES?"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for i := range settings {
		if text := StrangeVariables([]string{settings[i].env() + "=x"}); text != nil {
			t.Errorf("a setting is strange: %q", text)
		}
	}
}
