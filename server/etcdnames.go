package server

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/mimir-kv/mimir/server/address"
)

// defaultRegion is the region of a node that is told what it is by etcd's names alone, which have no word for it.
const defaultRegion = "default"

// etcdGiven is what was said by etcd's names, beside what went into settings at once.
type etcdGiven struct {
	// values are what it gave to settings, by key: one that has another value in the end was said to Mimir itself.
	values map[string]string
	elects time.Duration // election-timeout
	// schemes are those of the URLs of nodes, by flag.
	schemes map[string]string
	notes   []string // for the log
	traces  etcdTraces
	file    string // of etcd's settings; "" for none
}

// env is the variable of etcd that says the same.
func (f *etcdFlag) env() string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(f.name, "-", "_"))
}

// environment takes what etcd's variables say, and notes what it took. Whatever is said to Mimir counts for more.
func (e *etcdGiven) environment(c *Config, lookup func(string) (string, bool)) (wrong faults) {
	for i := range etcdFlags {
		f := &etcdFlags[i]
		text, set := lookup(f.env())
		if !set || text == "" || f.fileOnly || f.name == "version" { // ETCD_VERSION is how images say what they have
			continue
		}
		if err := e.take(f, c, text); err != nil {
			wrong.add("%s: %w", f.env(), err)
		} else if f.same || f.to != nil {
			e.notes = append(e.notes, f.env()+" is a setting of this node")
		}
	}
	return wrong
}

// flags takes what etcd's flags say.
func (e *etcdGiven) flags(c *Config, flags *pflag.FlagSet) (wrong faults) {
	for i := range etcdFlags {
		f := &etcdFlags[i]
		given := flags.Lookup(f.name)
		if f.same || given == nil || !given.Changed {
			continue
		}
		if e.file != "" && f.name != etcdFileFlag {
			e.note("--"+f.name, etcdBeside)
			continue
		}
		for _, key := range f.keys {
			s := settingOf(key)
			if own := flags.Lookup(s.name()); own != nil && own.Changed {
				wrong.add("--%s and --%s say the same: give one of them", f.name, s.name())
			}
		}
		if err := e.take(f, c, given.Value.String()); err != nil {
			wrong.add("--%s: %w", f.name, err)
		}
	}
	return wrong
}

func (e *etcdGiven) take(f *etcdFlag, c *Config, text string) error {
	switch {
	case f.same:
		return settingOf(f.name).set(c, text)
	case f.to != nil:
		err := f.to(e, c, text)
		for _, key := range f.keys {
			e.values[key] = settingOf(key).get(c)
		}
		return err
	case f.refused != "" && text != "" && !slices.Contains(f.harmless, text):
		return fmt.Errorf("%q: no such thing here: %s", text, f.refused)
	default:
		e.note(f.name, cmp.Or(f.ignored, "it asks for what is so anyway"))
		return nil
	}
}

func (e *etcdGiven) note(name, why string) {
	e.notes = append(e.notes, name+" means nothing here: "+why)
}

// rules reports whether a setting has, in the end, the value that one of etcd's names gave to it.
func (e *etcdGiven) rules(c *Config, key string) bool {
	value, given := e.values[key]
	return given && value == settingOf(key).get(c)
}

// finish settles what several names say together.
func (e *etcdGiven) finish(c *Config) error {
	r := &c.Replication
	if e.elects > 0 && e.rules(c, "election-ticks") {
		r.ElectionTicks = int((e.elects + r.TickInterval - 1) / max(1, r.TickInterval))
	}
	named := false
	for _, pair := range [][2]string{
		{"listen-peer-urls", "listen-peer"}, {"initial-advertise-peer-urls", "advertise-peer"},
		{"initial-cluster", "nodes"},
	} {
		name, key := pair[0], pair[1]
		if !e.rules(c, key) {
			continue
		}
		named = true
		if scheme := e.schemes[name]; (c.PeerTLS.Cert != "") != (scheme == "https") {
			return fmt.Errorf("%s says %s, and peer-cert-file is %q: if it is set nodes speak TLS, to all others", name,
				scheme, c.PeerTLS.Cert)
		}
	}
	if e.rules(c, "nodes") && c.InitialClusterState == stateExisting && len(r.Nodes) > 1 {
		r.Join = true
	}
	https := func(a address.Address) bool { return a.Scheme == "https" }
	if e.rules(c, "listen-http") && !c.HTTPTLS.Enabled() && slices.ContainsFunc(addresses(c.ListenHTTP), https) {
		c.HTTPTLS = c.ClientTLS
		if len(c.HTTPRule.AllowedCN) == 0 && len(c.HTTPRule.AllowedHostnames) == 0 {
			c.HTTPRule = c.ClientRule
		}
	}
	named = named || e.rules(c, "listen-client") || e.rules(c, "advertise-client")
	if named && r.RegionID == "" && len(r.Regions) == 0 {
		r.RegionID = defaultRegion
	}
	c.notes = e.notes
	return e.finishTraces(c)
}

// settingOf returns the setting of a key that is there.
func settingOf(key string) *setting {
	return &settings[slices.IndexFunc(settings, func(s setting) bool { return s.key == key })]
}

// as gives the value to a setting as it is.
func as(key string) func(*etcdGiven, *Config, string) error {
	return func(_ *etcdGiven, c *Config, text string) error { return settingOf(key).set(c, text) }
}

// asNames gives a list of names, which may have spaces in them, to a setting.
func asNames(at func(*Config) *[]string) func(*etcdGiven, *Config, string) error {
	return func(_ *etcdGiven, c *Config, text string) error {
		*at(c) = splitNames(text)
		return nil
	}
}

// asList gives a list of URLs to a setting of addresses.
func asList(key string) func(*etcdGiven, *Config, string) error {
	return func(_ *etcdGiven, c *Config, text string) error {
		list, err := address.ParseList(text)
		if err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		return settingOf(key).set(c, written(list))
	}
}

func written(list []address.Address) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

// authorities names the authorities of a block. As in etcd, who names them asks for certificates.
func authorities(block string) func(*etcdGiven, *Config, string) error {
	return func(_ *etcdGiven, c *Config, text string) error {
		if err := settingOf(block+".ca").set(c, text); err != nil || text == "" {
			return err
		}
		return settingOf(block+".require-client-cert").set(c, "true")
	}
}

// ifTrue has a block ask for certificates. If it is not to, that may follow from its authorities all the same.
func ifTrue(block string) func(*etcdGiven, *Config, string) error {
	return func(_ *etcdGiven, c *Config, text string) error {
		yes, err := parseBool(text)
		if err != nil || !yes {
			return err
		}
		return settingOf(block+".require-client-cert").set(c, "true")
	}
}

func (e *etcdGiven) listenClient(c *Config, text string) error {
	return asList("listen-client")(e, c, text)
}

// listenMore adds ports for HTTP alone: every port speaks it.
func (e *etcdGiven) listenMore(c *Config, text string) error {
	e.note("listen-client-http-urls", "they are listened at too, but every client port speaks gRPC and HTTP")
	return e.listenClient(c, c.ListenClient+","+text)
}

func (e *etcdGiven) listenPeer(c *Config, text string) error {
	list, err := e.nodeURLs("listen-peer-urls", text)
	c.ListenPeer = strings.Join(list, ",")
	return err
}

func (e *etcdGiven) advertisePeer(c *Config, text string) error {
	list, err := e.nodeURLs("initial-advertise-peer-urls", text)
	if err == nil && len(list) > 1 {
		return fmt.Errorf("%q: a node has one address for other nodes here: give the one that they are to dial", text)
	}
	c.Replication.PeerAddr = strings.Join(list, ",")
	return err
}

func (e *etcdGiven) initialCluster(c *Config, text string) error {
	nodes := map[string]string{}
	for _, pair := range address.Split(text) {
		name, url, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q: want name=URL", pair)
		}
		list, err := e.nodeURLs("initial-cluster", url)
		if err != nil {
			return err
		}
		if before, twice := nodes[name]; twice && before != list[0] {
			return fmt.Errorf("%q: a node has one address for other nodes here, and this is its second", pair)
		}
		nodes[name] = list[0]
	}
	c.Replication.Nodes = nodes
	return nil
}

// nodeURLs takes the scheme off URLs of nodes, which must all have the same.
func (e *etcdGiven) nodeURLs(name, text string) (list []string, err error) {
	urls, err := address.ParseList(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	for _, u := range urls {
		if u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%q: want http://host:port or https://host:port", u.String())
		}
		if before, given := e.schemes[name]; given && before != u.Scheme {
			return nil, fmt.Errorf("%q: http and https do not go together: nodes all speak TLS, or none does", text)
		}
		e.schemes[name] = u.Scheme
		list = append(list, u.Place)
	}
	return list, nil
}

// milliseconds reads a number of them.
func milliseconds(text string) (time.Duration, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a number of milliseconds", text)
	}
	return time.Duration(n) * time.Millisecond, nil
}

func (e *etcdGiven) heartbeat(c *Config, text string) (err error) {
	c.Replication.TickInterval, err = milliseconds(text)
	return err
}

func (e *etcdGiven) election(_ *Config, text string) (err error) {
	e.elects, err = milliseconds(text)
	return err
}

// cipherSuites takes those that can be chosen here, of which etcd knows two by former names too. Those of TLS 1.3 are
// always there; where etcd is given no others it speaks nothing but TLS 1.3.
func (e *etcdGiven) cipherSuites(c *Config, text string) error {
	given, chosen := address.Split(text), []string(nil)
	for _, name := range given {
		switch {
		case ofTLS13(name):
			e.note("cipher-suites "+name, "it is of TLS 1.3, whose suites are always there")
		case strings.HasSuffix(name, "_CHACHA20_POLY1305"):
			chosen = append(chosen, name+"_SHA256")
		default:
			chosen = append(chosen, name)
		}
	}
	if len(chosen) == 0 && len(given) > 0 {
		return fmt.Errorf("%q: they are of TLS 1.3, all of whose suites are always there: set tls-min-version to 1.3",
			text)
	}
	return settingOf("tls-cipher-suites").set(c, strings.Join(chosen, ","))
}

func ofTLS13(suite string) bool {
	return slices.ContainsFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool {
		return s.Name == suite && !slices.Contains(s.SupportedVersions, tls.VersionTLS12)
	})
}

// cors takes the pages that are named. All is what etcd does by itself, and is not done here.
func (e *etcdGiven) cors(c *Config, text string) error {
	if text == "*" {
		e.note("cors", "web pages are let in by name alone: allowed-origins")
		return nil
	}
	c.AllowedOrigins = address.Split(text)
	return nil
}

// gates are etcd's features that can be switched, with why that means nothing here.
var gates = map[string]string{
	"AllAlpha": alwaysOff, "AllBeta": alwaysOff, "StopGRPCServiceOnDefrag": boltOnly,
	"TxnModeWriteWithSharedBuffer": boltOnly, "InitialCorruptCheck": ownCheck, "CompactHashCheck": ownCheck,
	"LeaseCheckpoint": ownLease, "LeaseCheckpointPersist": ownLease, "FastLeaseKeepAlive": alwaysOff,
	"PriorityRequest": alwaysOff,
}

func (e *etcdGiven) featureGates(_ *Config, text string) error {
	for _, pair := range address.Split(text) {
		name, value, _ := strings.Cut(pair, "=")
		on, err := parseBool(value)
		switch {
		case err != nil:
			return fmt.Errorf("%q: want name=true or name=false", pair)
		case gates[name] != "":
			e.note("feature-gates "+name, gates[name])
		case name == "SetMemberLocalAddr" && !on:
		case name == "SetMemberLocalAddr":
			return fmt.Errorf("%q: the system chooses from which address other nodes are dialled: set a route", pair)
		default:
			return fmt.Errorf("%q: no such feature of etcd 3.7", name)
		}
	}
	return nil
}

// etcdValue holds what one of etcd's flags is given.
type etcdValue struct{ text string }

func (v *etcdValue) Set(s string) error { v.text = s; return nil }
func (v *etcdValue) String() string     { return v.text }
func (v *etcdValue) Type() string       { return "string" }

// addEtcdFlags adds those of etcd's flags that are none of ours. They are not told by --help, which they would fill.
func addEtcdFlags(flags *pflag.FlagSet) {
	for i := range etcdFlags {
		f := &etcdFlags[i]
		if f.same || f.fileOnly {
			continue
		}
		added := flags.VarPF(&etcdValue{}, f.name, "", "as etcd's")
		added.Hidden = true
		if f.bool {
			added.NoOptDefVal = "true"
		}
	}
}

// What follows are ways in which etcd writes values of settings that have the same name here.

// secondsOfEtcd reads a plain number as seconds.
func secondsOfEtcd(text string) string {
	if _, err := strconv.ParseUint(text, 10, 32); err == nil {
		return text + "s"
	}
	return text
}

// levelOfEtcd knows two levels above ours, at which nothing is told but an end.
func levelOfEtcd(text string) string {
	if text == "panic" || text == "fatal" {
		return "error"
	}
	return text
}

func formatOfEtcd(text string) string {
	if text == "console" {
		return "text"
	}
	return text
}

// quotaOfEtcd knows a size below zero as no bound.
func quotaOfEtcd(text string) string {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n < 0 {
		return "0"
	}
	return text
}

// streamsOfEtcd knows a number above what can be set as none, which is the default there.
func streamsOfEtcd(text string) string {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil && n > math.MaxInt32 {
		return strconv.Itoa(math.MaxInt32)
	}
	return text
}
