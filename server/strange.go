package server

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ofCommands are variables of commands beside serve, which may stand in its environment.
var ofCommands = []string{
	"MIMIR_CONFIG", "MIMIR_ENDPOINTS", "MIMIR_CACERT", "MIMIR_CERT", "MIMIR_KEY", "MIMIR_TOKEN_FILE", "MIMIR_USER",
	"MIMIR_PASSWORD", "MIMIR_FROM_USER", "MIMIR_FROM_PASSWORD", "MIMIR_TO_USER", "MIMIR_TO_PASSWORD",
}

// ofKubernetes are variables that it makes of the name of a service.
var ofKubernetes = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT|PORT)(_|$)`)

// StrangeVariables says which variables of an environment, each NAME=VALUE, are no settings, and are called nearly as
// one is: whoever wrote it meant that, and it would be passed over in silence.
func StrangeVariables(environ []string) (list []string) {
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		known := func(s setting) bool { return s.env() == name }
		if !strings.HasPrefix(name, "MIMIR_") || slices.ContainsFunc(settings, known) ||
			slices.Contains(ofCommands, name) || ofKubernetes.MatchString(name) {
			continue
		}
		best, bestDistance := "", 3
		for i := range settings {
			if d := distance(name, settings[i].env()); d < bestDistance {
				best, bestDistance = settings[i].env(), d
			}
		}
		if best != "" {
			list = append(list, fmt.Sprintf("%s is no setting, and means nothing: did you mean %s?", name, best))
		}
	}
	slices.Sort(list)
	return list
}
