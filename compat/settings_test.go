package compat

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/mimir-kv/mimir/server"
)

const settingsOfEtcd = `
name: a
data-dir: d
listen-client-urls: https://127.0.0.1:2379,https://[::1]:2379
advertise-client-urls: https://127.0.0.1:2379
listen-peer-urls: https://127.0.0.1:2380
initial-advertise-peer-urls: https://127.0.0.1:2380
initial-cluster: a=https://127.0.0.1:2380
initial-cluster-token: t
heartbeat-interval: 50
quota-backend-bytes: 8589934592
Max-Txn-Ops: 11
max-txn-ops: 99
max-request-bytes: 1000000
auto-compaction-mode: revision
auto-compaction-retention: '1000'
watch-progress-notify-interval: 5000000000
warning-unary-request-duration: 400000000
enable-pprof: on
wal-dir:
Client-Transport-Security: {Cert-File: c, key-file: k, Trusted-CA-File: other, trusted-ca-file: ca, allowed-hostname: [h, i]}
peer-transport-security: {cert-file: pc, key-file: pk, trusted-ca-file: pca, client-cert-auth: true, allowed-cn: [p, q],
  client-cert-file: pcc, client-key-file: pck}
tls-max-version: TLS1.3
log-outputs: [stderr, x.log]
unknown-to-both: 1
`

// A file of etcd's settings says here what etcd reads in it; and there is no key of etcd's that is not known here.
func TestFileOfEtcd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	flagsFor := func(name, text string) *pflag.FlagSet {
		file := filepath.Join(dir, name)
		text = strings.ReplaceAll(text, "x.log", filepath.Join(dir, "x.log")) // etcd opens it
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		server.AddFlags(flags)
		if err := flags.Parse([]string{"--config-file", file}); err != nil {
			t.Fatal(err)
		}
		return flags
	}
	none := func(string) (string, bool) { return "", false }
	ours, err := server.Load("", none, flagsFor("a.yml", settingsOfEtcd))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := embed.ConfigFromFile(filepath.Join(dir, "a.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var listen []string
	for _, u := range theirs.ListenClientUrls {
		listen = append(listen, u.String())
	}
	r, client, peer := &ours.Replication, &theirs.ClientTLSInfo, &theirs.PeerTLSInfo
	for what, pair := range map[string][2]any{
		"name":     {theirs.Name, r.NodeID},
		"data-dir": {theirs.Dir, r.DataDir},
		"listen":   {strings.Join(listen, ","), ours.ListenClient},
		"cluster":  {theirs.InitialCluster, "a=https://" + r.Nodes["a"]},
		"token":    {theirs.InitialClusterToken, r.FleetID},
		"tick":     {int64(theirs.TickMs), r.TickInterval.Milliseconds()},
		"quota":    {theirs.QuotaBackendBytes, ours.QuotaBytes},
		"txn ops":  {int(theirs.MaxTxnOps), ours.Limits.TxnOps},
		"request":  {int64(theirs.MaxRequestBytes), int64(ours.Limits.RequestBytes)},
		"compaction": {theirs.AutoCompactionMode + theirs.AutoCompactionRetention,
			ours.Compaction.Mode + ours.Compaction.Retention},
		"progress": {theirs.WatchProgressNotifyInterval, ours.Limits.ProgressInterval},
		"slow":     {theirs.WarningUnaryRequestDuration, ours.SlowRequest},
		"pprof":    {theirs.EnablePprof, ours.Pprof},
		"client TLS": {client.CertFile + client.KeyFile + client.TrustedCAFile,
			ours.ClientTLS.Cert + ours.ClientTLS.Key + ours.ClientTLS.CA},
		"peer TLS": {peer.CertFile + peer.KeyFile + peer.TrustedCAFile,
			ours.PeerTLS.Cert + ours.PeerTLS.Key + ours.PeerTLS.CA},
		"peers' auth": {peer.ClientCertAuth, ours.PeerTLS.RequireClientCert},
		"connecting":  {peer.ClientCertFile + peer.ClientKeyFile, ours.PeerTLS.ClientCert + ours.PeerTLS.ClientKey},
		"clients":     {fmt.Sprint(client.AllowedHostnames), fmt.Sprint(ours.ClientRule.AllowedHostnames)},
		"greatest":    {theirs.TlsMaxVersion, ours.Handshakes.MaxVersion},
		"log":         {fmt.Sprint(theirs.LogOutputs), fmt.Sprint(ours.LogOutputs)},
		"peers' CN":   {fmt.Sprint(peer.AllowedCNs), fmt.Sprint(ours.PeerRule.AllowedCN)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: etcd has %v, and here is %v", what, pair[0], pair[1])
		}
	}

	var all strings.Builder
	keys, kind := 0, reflect.TypeFor[embed.Config]()
	for i := range kind.NumField() {
		key, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
		// The one is for programs that embed an etcd, the other a block of its own.
		if key == "" || key == "-" || key == "grpc-additional-server-options" || key == "discovery-config" {
			continue
		}
		keys++
		fmt.Fprintf(&all, "%s:\n", key)
	}
	_, notes, _ := server.Check("", none, flagsFor("b.yml", all.String()))
	for _, note := range notes {
		if strings.Contains(note, "no such setting") {
			t.Error(note)
		}
	}
	if keys < 60 {
		t.Errorf("only %d keys were found", keys)
	}
}

// Every flag that an etcd of this version has is taken, or refused with a reason, and none is unknown.
func TestFlagsOfEtcd(t *testing.T) {
	t.Parallel()
	theirs, ours := flag.NewFlagSet("etcd", flag.ContinueOnError), pflag.NewFlagSet("serve", pflag.ContinueOnError)
	embed.NewConfig().AddFlags(theirs)
	server.AddFlags(ours)
	n := 0
	theirs.VisitAll(func(f *flag.Flag) {
		n++
		if ours.Lookup(f.Name) == nil {
			t.Errorf("--%s is not known", f.Name)
		}
	})
	if n < 100 {
		t.Errorf("only %d flags were found", n)
	}
}
