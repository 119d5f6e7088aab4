package server

import "cmp"

// etcdCollector is where etcd sends traces if it is told to and not where.
const etcdCollector = "localhost:4317"

// etcdTraces is what etcd's names say of traces: nothing, unless they are asked for.
type etcdTraces struct {
	on             bool
	address, drawn string
}

func (e *etcdGiven) tracesOn(_ *Config, text string) (err error) {
	e.traces.on, err = parseBool(text)
	return err
}

func (e *etcdGiven) tracesTo(_ *Config, text string) error {
	e.traces.address = text
	return nil
}

func (e *etcdGiven) tracesDrawn(_ *Config, text string) error {
	e.traces.drawn = text
	return nil
}

// finishTraces has traces go where etcd would send them, and be drawn as etcd draws them: by the client, and by ratio
// where the client says nothing. What is said to Mimir itself counts for more.
func (e *etcdGiven) finishTraces(c *Config) error {
	if !e.traces.on {
		return nil
	}
	for _, one := range [][2]string{
		{"tracing.endpoint", cmp.Or(e.traces.address, etcdCollector)},
		{"tracing.samples-per-million", cmp.Or(e.traces.drawn, "0")},
		{"tracing.follow-clients", "true"},
	} {
		if c.origins[one[0]] != "" {
			continue
		}
		if err := settingOf(one[0]).set(c, one[1]); err != nil {
			return err
		}
	}
	return nil
}

// tracingFlags are those of etcd that ask for traces, with what stands before their names.
func tracingFlags(before string) []etcdFlag {
	key := func(name string) []string { return []string{"tracing." + name} }
	named := before + "distributed-tracing-"
	return []etcdFlag{
		{name: before + "enable-distributed-tracing", keys: key("endpoint"),
			to: (*etcdGiven).tracesOn, bool: true},
		{name: named + "address", keys: key("endpoint"), to: (*etcdGiven).tracesTo},
		{name: named + "service-name", keys: key("service-name"), to: as("tracing.service-name")},
		{name: named + "instance-id", keys: key("instance-id"), to: as("tracing.instance-id")},
		{name: named + "sampling-rate", keys: key("samples-per-million"), to: (*etcdGiven).tracesDrawn},
	}
}
