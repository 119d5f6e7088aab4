{{/* Name of the release's objects; with a number behind it, that of a node and its pod. Unique in the fleet by region. */}}
{{- define "mimir.name" -}}
{{- if or (eq .Release.Name .Values.region) (hasSuffix (printf "-%s" .Values.region) .Release.Name) -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 30 | trimSuffix "-") .Values.region -}}
{{- end -}}
{{- end -}}

{{- define "mimir.selector" -}}
app.kubernetes.io/name: mimir
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mimir.labels" -}}
{{ include "mimir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
mimir/region: {{ .Values.region }}
{{- end -}}

{{/* Host of a node for nodes, with {name} for its name. */}}
{{- define "mimir.peerHost" -}}
{{- .Values.hosts.peer | default (printf "{name}.%s-peers.%s.svc" (include "mimir.name" .) .Release.Namespace) -}}
{{- end -}}

{{/* Host of a node for clients, likewise. */}}
{{- define "mimir.clientHost" -}}
{{- .Values.hosts.client | default (printf "{name}.%s-peers.%s.svc" (include "mimir.name" .) .Release.Namespace) -}}
{{- end -}}

{{/* The configuration file, but for what differs from node to node, which is in the environment. */}}
{{- define "mimir.config" -}}
{{- $nodes := dict -}}
{{- range $i := until (int .Values.replicas) -}}
{{- $name := printf "%s-%d" (include "mimir.name" $) $i -}}
{{- $host := include "mimir.peerHost" $ | replace "{name}" $name -}}
{{- $_ := set $nodes $name (printf "%s:%d" $host (int $.Values.ports.peer)) -}}
{{- end -}}
{{- $config := dict
  "region" .Values.region
  "fleet" .Values.fleet
  "data-dir" "/var/lib/mimir/data"
  "listen-client" (printf ":%d" (int .Values.ports.client))
  "listen-peer" (printf ":%d" (int .Values.ports.peer))
  "listen-http" (printf ":%d" (int .Values.ports.http))
  "nodes" $nodes -}}
{{- if .Values.regions -}}
{{- if hasKey .Values.regions .Values.region -}}
{{- fail (printf "regions has %s, which is this region: it is for the others" .Values.region) -}}
{{- end -}}
{{- $primary := required "initialPrimary is missing: the region that takes writes first" .Values.initialPrimary -}}
{{- if not (or (eq $primary .Values.region) (hasKey .Values.regions $primary)) -}}
{{- fail (printf "initialPrimary %s is neither this region nor in regions" $primary) -}}
{{- end -}}
{{- $_ := set $config "regions" .Values.regions -}}
{{- $_ := set $config "initial-primary" $primary -}}
{{- end -}}
{{- if .Values.tls.client.secretName -}}
{{- $_ := set $config "client-tls" (dict
  "cert" "/etc/mimir/tls/client/tls.crt"
  "key" "/etc/mimir/tls/client/tls.key"
  "ca" "/etc/mimir/tls/client/ca.crt"
  "require-client-cert" .Values.tls.client.requireClientCert) -}}
{{- end -}}
{{- if .Values.tls.peer.secretName -}}
{{- $_ := set $config "peer-tls" (dict
  "cert" "/etc/mimir/tls/peer/tls.crt"
  "key" "/etc/mimir/tls/peer/tls.key"
  "ca" "/etc/mimir/tls/peer/ca.crt") -}}
{{- end -}}
{{- mustMergeOverwrite $config (deepCopy .Values.config) | toYaml -}}
{{- end -}}
