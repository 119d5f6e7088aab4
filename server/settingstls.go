package server

import "slices"

// tlsSettings are those of the section about TLS.
var tlsSettings = slices.Concat(
	files("client-tls", "clients", "authorities trusted to sign clients",
		func(c *Config) *TLS { return &c.ClientTLS }),
	allowed("client-tls", "a client, operators and `mimir` included,",
		func(c *Config) *ClientRule { return &c.ClientRule }),
	files("peer-tls", "nodes", "authorities trusted to sign nodes; the machine's if not set",
		func(c *Config) *TLS { return &c.PeerTLS }),
	[]setting{
		text("peer-tls.client-cert", "", "PEM file: certificate and its chain that this node shows where it connects "+
			"to other nodes, in place of that of `cert`; it is then this one that the other rules are about",
			func(c *Config) *string { return &c.PeerTLS.ClientCert }),
		text("peer-tls.client-key", "", "PEM file: its key", func(c *Config) *string { return &c.PeerTLS.ClientKey }),
		list("peer-tls.allowed-cn", "common names, of which the certificate of a node must have one",
			func(c *Config) *[]string { return &c.PeerRule.AllowedCN }),
		list("peer-tls.allowed-hostname",
			"names or IP addresses, for one of which the certificate of a node must be valid",
			func(c *Config) *[]string { return &c.PeerRule.AllowedHostnames }),
		text("peer-tls.bind", bindNone, "`node`: the certificate of a node must name the node that speaks: "+
			"`node.region.fleet` as a DNS name or as the common name, or the URI `mimir://fleet/region/node`: where "+
			"it has such a URI, that alone counts; `none`: any certificate signed by `ca` may be any node's",
			func(c *Config) *string { return &c.PeerRule.Bind }),
		text("fleet-key-file", "", "file of secrets, one a line, of at least 32 characters each: nodes show each "+
			"other that they have one of them, also without TLS, and refuse who has none. The first is shown; to "+
			"change it, add the new one as the second everywhere, then make it the first, then take the old one "+
			"away, with a restart of all nodes, one by one, each time",
			func(c *Config) *string { return &c.FleetKeyFile }),
		yesOrNo("fleet-key-optional", "let in who shows no key, and go on without one where the other side has "+
			"none: for as long as not all nodes have `fleet-key-file`",
			func(c *Config) *bool { return &c.KeyOptional }),
	},
	files("region-tls", "", "authorities of other regions", func(c *Config) *TLS { return &c.RegionTLS }),
	files("http-tls", "whoever comes to `listen-http`", "authorities trusted to sign who may come to `listen-http`",
		func(c *Config) *TLS { return &c.HTTPTLS }),
	allowed("http-tls", "whoever comes to `listen-http`", func(c *Config) *ClientRule { return &c.HTTPRule }),
	[]setting{
		text("tls-min-version", "1.2",
			"least version of TLS, at every port and towards other nodes: `1.2` or `1.3`",
			func(c *Config) *string { return &c.Handshakes.MinVersion }),
		text("tls-max-version", "", "greatest version of TLS, likewise; the greatest that Go has if not set",
			func(c *Config) *string { return &c.Handshakes.MaxVersion }),
		list("tls-cipher-suites", "cipher suites of TLS 1.2 that may be used, such as "+
			"`TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`; those that Go holds secure if not set. Those of TLS 1.3 "+
			"cannot be chosen",
			func(c *Config) *[]string { return &c.Handshakes.CipherSuites }),
	},
)

// files are the settings of a block of TLS files; whom says who connects to the listener that it secures, empty for
// none.
func files(key, whom, authorities string, at func(*Config) *TLS) []setting {
	cert, require := "PEM file: certificate and its chain", "refuse "+whom+" without a certificate signed by `ca`"
	if whom == "" {
		cert = "PEM file: certificate to show to other regions if they do not accept that of `peer-tls`"
		require = "always refused here: it belongs to `peer-tls`, whose listener serves regions too"
	}
	asks := yesOrNo(key+".require-client-cert", require, func(c *Config) *bool { return &at(c).RequireClientCert })
	if whom == "nodes" {
		asks = yesUnless(key+".require-client-cert", require+"; `true` with `ca`, unless it is set to `false`",
			func(c *Config) *bool { return &at(c).RequireClientCert }, func(c *Config) *bool { return &at(c).Lenient })
	}
	return []setting{
		text(key+".cert", "", cert, func(c *Config) *string { return &at(c).Cert }),
		text(key+".key", "", "PEM file: its key", func(c *Config) *string { return &at(c).Key }),
		text(key+".ca", "", "PEM file: "+authorities, func(c *Config) *string { return &at(c).CA }),
		text(key+".crl", "",
			"file of lists of certificates that the authorities of `ca` have revoked, PEM or one list of DER",
			func(c *Config) *string { return &at(c).CRL }),
		asks,
	}
}

// allowed are the settings that say which certificates a listener takes of those that its authorities signed.
func allowed(key, whom string, at func(*Config) *ClientRule) []setting {
	return []setting{
		nameList(key+".allowed-cn", "common names, of which the certificate of "+whom+" must have one; needs "+
			"`require-client-cert`", func(c *Config) *[]string { return &at(c).AllowedCN }),
		list(key+".allowed-hostname",
			"names or IP addresses, for one of which the certificate of "+whom+" must be valid; likewise",
			func(c *Config) *[]string { return &at(c).AllowedHostnames }),
	}
}
