package main

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// point is one line of a node's metrics.
type point struct {
	labels map[string]string
	value  float64
}

// exported are the metrics of a node that were asked for, by name.
type exported map[string][]point

// parseMetrics reads those lines of text of Prometheus that have one of these names. What it cannot read it leaves out.
func parseMetrics(text []byte, names map[string]bool) exported {
	list := exported{}
	for line := range bytes.Lines(text) {
		end := bytes.IndexAny(line, "{ ")
		if end <= 0 || line[0] == '#' || !names[string(line[:end])] {
			continue
		}
		labels, rest, ok := parseLabels(string(line[end:]))
		if !ok {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		if value, err := strconv.ParseFloat(fields[0], 64); err == nil {
			list[string(line[:end])] = append(list[string(line[:end])], point{labels, value})
		}
	}
	return list
}

// parseLabels reads {name="value",…}, which may be missing, and returns what stands behind it.
func parseLabels(text string) (labels map[string]string, rest string, ok bool) {
	labels = map[string]string{}
	if !strings.HasPrefix(text, "{") {
		return labels, text, true
	}
	for text = text[1:]; ; {
		text = strings.TrimLeft(text, ", ")
		if strings.HasPrefix(text, "}") {
			return labels, text[1:], true
		}
		name, quoted, found := strings.Cut(text, "=")
		if !found {
			return nil, "", false
		}
		value, err := strconv.QuotedPrefix(quoted)
		if err != nil {
			return nil, "", false
		}
		text = quoted[len(value):]
		if labels[name], err = strconv.Unquote(value); err != nil {
			return nil, "", false
		}
	}
}

// sum adds up the values whose labels are so. It is false if there is none.
func (e exported) sum(name string, labels ...string) (total float64, ok bool) {
	for _, p := range e[name] {
		if p.has(labels) {
			total, ok = total+p.value, true
		}
	}
	return total, ok
}

func (p *point) has(labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if p.labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}

// figure is what mimir top shows of a node: a rate of a counter, or a value as it is.
type figure struct {
	key, head string
	metric    string
	labels    []string
	counter   bool
	bytes     bool
}

const (
	ofKV = "/etcdserverpb.KV/"
	good = "OK"
)

// figures are the columns of mimir top, in order. Those of requests are of what was answered well.
var figures = []figure{
	{"puts", "PUTS/S", "mimir_requests_total", []string{"method", ofKV + "Put", "code", good}, true, false},
	{"gets", "GETS/S", "mimir_requests_total", []string{"method", ofKV + "Range", "code", good}, true, false},
	{"txns", "TXNS/S", "mimir_requests_total", []string{"method", ofKV + "Txn", "code", good}, true, false},
	{"watches", "WATCHES", "mimir_watchers", nil, false, false},
	{"watchAnswers", "WATCH MSGS/S", "grpc_server_msg_sent_total", []string{"grpc_method", "Watch"}, true, false},
	{"bytesIn", "IN/S", "etcd_network_client_grpc_received_bytes_total", nil, true, true},
	{"bytesOut", "OUT/S", "etcd_network_client_grpc_sent_bytes_total", nil, true, true},
	{"streamOut", "STREAM OUT/S", "mimir_peer_sent_bytes_total", []string{"service", "stream"}, true, true},
	{"streamIn", "STREAM IN/S", "mimir_peer_received_bytes_total", []string{"service", "stream"}, true, true},
	{"commands", "COMMANDS/S", "mimir_position", nil, true, false},
	{"pending", "PENDING", "mimir_proposals_pending", nil, false, false},
}

// Of a region's lag, as its leader exports it.
const (
	lagSeconds  = "mimir_lag_seconds"
	lagCommands = "mimir_lag_commands"
	lagAtLeast  = "mimir_lag_at_least"
)

// wanted are the names of all metrics that mimir top reads.
func wanted() map[string]bool {
	names := map[string]bool{lagSeconds: true, lagCommands: true, lagAtLeast: true}
	for _, f := range figures {
		names[f.metric] = true
	}
	return names
}

// sampled is what a node exported at a time.
type sampled struct {
	at   time.Time
	from exported
}

// rates returns the figures of a node between two samples, by key. What is not known, or of a node that was started in
// between, is missing.
func rates(before, now *sampled) map[string]float64 {
	list := map[string]float64{}
	if now == nil {
		return list
	}
	for _, f := range figures {
		value, ok := now.from.sum(f.metric, f.labels...)
		if !f.counter {
			if ok {
				list[f.key] = value
			}
			continue
		}
		if before == nil {
			continue
		}
		was, _ := before.from.sum(f.metric, f.labels...)
		seconds := now.at.Sub(before.at).Seconds()
		if !ok && f.labels == nil { // else it is one of which nothing was counted yet
			continue
		}
		if value >= was && seconds > 0 {
			list[f.key] = (value - was) / seconds
		}
	}
	return list
}
