package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples are those of commands that bring none, by what stands behind mimir: a line each, without indentation.
var examples = map[string]string{
	"": "mimir dev --regions us,eu --nodes 1 --witness\nmimir serve --config /etc/mimir/mimir.yaml\n" +
		"mimir status --watch",
	"serve": "mimir serve --config /etc/mimir/mimir.yaml\nmimir serve --config /etc/mimir/mimir.yaml --check\n" +
		"mimir serve --config /etc/mimir/mimir.yaml --check --fleet-file fleet.yaml",
	"version": "mimir version",
	"help":    "mimir help status",
	"log":     "mimir log --endpoints 10.1.0.1:2379\nmimir log --level debug --endpoints 10.1.0.1:2379",
	"mirror": "mimir mirror --to http://10.9.0.1:2379 --endpoints 10.1.0.1:2379,10.2.0.1:2379\n" +
		"mimir mirror --to https://etcd.example:2379 --to-cacert ca.crt --prefix /config/ --to-prefix /copy/",
	"feed": "mimir feed --endpoints 10.1.0.1:2379,10.2.0.1:2379 --prefix /config/\n" +
		"mimir feed --endpoints 10.1.0.1:2379,10.2.0.1:2379 --prefix /config/ --token TOKEN --snapshot",
	"bench":   "mimir bench --endpoints 127.0.0.1:2379 --ops put,get --duration 10s",
	"witness": "mimir witness --name w1 --listen 10.3.0.1:2380 --data-dir /var/lib/mimir-w1",

	"switchover": "mimir switchover --to eu --endpoints 10.1.0.1:2379,10.2.0.1:2379\nmimir switchover --abort",
	"failover":   "mimir failover --to eu --accept-loss 100 --endpoints 10.2.0.1:2379\nmimir failover --to eu --force",

	"config":          "mimir config generate fleet.yaml --out nodes\nmimir config sample > /etc/mimir/mimir.yaml",
	"config generate": "mimir config generate fleet.yaml --out nodes",
	"config sample":   "mimir config sample > /etc/mimir/mimir.yaml",
	"cert": "mimir cert init --fleet production\nmimir cert nodes fleet.yaml\nmimir cert client operator\n" +
		"mimir cert show certs",
	"cert init":   "mimir cert init --dir certs --fleet production",
	"cert nodes":  "mimir cert nodes fleet.yaml --dir certs\nmimir cert nodes fleet.yaml --dir certs --all",
	"cert client": "mimir cert client operator --dir certs --days 90",
	"cert show":   "mimir cert show certs\nmimir cert show /etc/mimir/tls/server.crt -o json",

	"partial": "mimir partial status --endpoints 10.9.0.1:2379",
	"partial serve": "mimir partial serve --region edge --name edge-1 --prefix /shop/7/ --from 10.1.0.1:2379 " +
		"--secret-file /etc/mimir/edge.secret --listen 10.9.0.1:2379 --data-dir /var/lib/mimir-edge",
	"partial status": "mimir partial status --endpoints 10.9.0.1:2379\nmimir partial status -o json",

	"region":        "mimir region list\nmimir region add ap --peers 10.3.0.1:2380",
	"region list":   "mimir region list --endpoints 10.1.0.1:2379\nmimir region list -o json",
	"region remove": "mimir region remove ap --dry-run\nmimir region remove ap --gone",
	"node":          "mimir node rebuild us-2 --endpoints 10.1.0.1:2379",

	"fleet":        "mimir fleet show\nmimir fleet enable --witness w1=10.3.0.1:2380",
	"fleet init":   "mimir fleet init --primary us",
	"fleet enable": "mimir fleet enable --witness w1=10.3.0.1:2380",
	"fleet show":   "mimir fleet show\nmimir fleet show -o json",
	"fleet pause":  "mimir fleet pause --reason 'work on the network until 14:00'",
	"fleet resume": "mimir fleet resume",
	"fleet hold":   "mimir fleet hold --for 30m\nmimir fleet hold --end",
	"fleet change": "mimir fleet change --max-loss 1000\n" +
		"mimir fleet change --remove witness/w1 --witness w2=10.3.0.2:2380",
	"fleet recover": "mimir fleet recover --keep eu --others-are-stopped",

	"keys":         "mimir keys new > /etc/mimir/keys\nmimir keys list --data-dir /var/lib/mimir",
	"keys new":     "mimir keys new > /etc/mimir/keys",
	"keys list":    "mimir keys list --data-dir /var/lib/mimir --encryption-key-file /etc/mimir/keys",
	"keys rewrite": "mimir keys rewrite --data-dir /var/lib/mimir --encryption-key-file /etc/mimir/keys",

	"snapshot":         "mimir snapshot save backup.snap\nmimir snapshot status backup.snap",
	"snapshot save":    "mimir snapshot save backup.snap --endpoints 10.2.0.1:2379",
	"snapshot status":  "mimir snapshot status backup.snap",
	"snapshot restore": "mimir snapshot restore backup.snap --config /etc/mimir/mimir.yaml",
	"snapshot list":    "mimir snapshot list file:///backups --fleet production",

	"archive":        "mimir archive status file:///archive",
	"archive status": "mimir archive status file:///archive --fleet production",
	"archive verify": "mimir archive verify file:///archive monday.snap tuesday.snap",
	"archive prune":  "mimir archive prune file:///archive oldest.snap --dry-run",

	"import": "mimir import --from etcd.snap --config /etc/mimir/mimir.yaml\n" +
		"mimir import --from https://10.0.0.1:2379 --follow --keep etcd.snap --config /etc/mimir/mimir.yaml",
	"import follow": "mimir import follow --from https://10.0.0.1:2379 --endpoints 10.1.0.1:2379",
	"import verify": "mimir import verify --from https://10.0.0.1:2379 --endpoints 10.1.0.1:2379 --every 10000",
	"import finish": "mimir import finish --from https://10.0.0.1:2379 --endpoints 10.1.0.1:2379 --fence",
	"export":        "mimir export etcd.db --endpoints 10.1.0.1:2379\nmimir export etcd.db --from backup.snap",

	"tail":         "mimir tail list\nmimir tail diff NAME\nmimir tail replay NAME",
	"tail list":    "mimir tail list --endpoints 10.1.0.1:2379",
	"tail show":    "mimir tail show NAME --limit 20",
	"tail export":  "mimir tail export NAME > tail.json",
	"tail diff":    "mimir tail diff NAME",
	"tail replay":  "mimir tail replay NAME --only /registry/pods/",
	"tail discard": "mimir tail discard NAME",

	"completion":            "mimir completion bash > /etc/bash_completion.d/mimir",
	"completion bash":       "mimir completion bash > /etc/bash_completion.d/mimir",
	"completion zsh":        "mimir completion zsh > \"${fpath[1]}/_mimir\"",
	"completion fish":       "mimir completion fish > ~/.config/fish/completions/mimir.fish",
	"completion powershell": "mimir completion powershell | Out-String | Invoke-Expression",
}

// withExamples has each command below c show an example, and the completion of shells stand among the commands. It is
// called when c knows where it writes to.
func withExamples(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	each(root, func(c *cobra.Command) {
		if text := examples[place(c)]; text != "" && c.Example == "" {
			c.Example = "  " + strings.ReplaceAll(text, "\n", "\n  ")
		}
	})
}

// each visits c and all commands below it.
func each(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, below := range c.Commands() {
		each(below, visit)
	}
}

// place is what stands behind mimir for a command.
func place(c *cobra.Command) string {
	_, rest, _ := strings.Cut(c.CommandPath(), " ")
	return rest
}
