{{/* Name of the release's objects; with a number behind it, that of a pod. Unique in the fleet by region. */}}
{{- define "mimir.name" -}}
{{- if or (eq .Release.Name .Values.region) (hasSuffix (printf "-%s" .Values.region) .Release.Name) -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 30 | trimSuffix "-") .Values.region -}}
{{- end -}}
{{- end -}}

{{/* Name of the pod of a number: of "top", the root, and "number". */}}
{{- define "mimir.pod" -}}
{{- printf "%s-%d" (include "mimir.name" .top) (int .number) -}}
{{- end -}}

{{/* Name of the node in the pod of a number, likewise: that of the pod, if names has no other. */}}
{{- define "mimir.node" -}}
{{- get (.top.Values.names | default dict) (printf "%d" (int .number)) | default (include "mimir.pod" .) -}}
{{- end -}}

{{/* Nothing, if names and joining can be. */}}
{{- define "mimir.agree" -}}
{{- $top := . -}}
{{- $last := sub (int .Values.replicas) 1 | int -}}
{{- range $number, $name := .Values.names -}}
{{- if gt (int $number) $last -}}
{{- fail (printf "names has %s: the nodes are 0 to %d" $number $last) -}}
{{- end -}}
{{- end -}}
{{- $all := dict -}}
{{- range $i := until (int .Values.replicas) -}}
{{- $name := include "mimir.node" (dict "top" $top "number" $i) -}}
{{- if hasKey $all $name -}}
{{- fail (printf "names has %s for a node, and another one has that name" $name) -}}
{{- end -}}
{{- $_ := set $all $name $i -}}
{{- end -}}
{{- range .Values.joining -}}
{{- if gt (int .) $last -}}
{{- fail (printf "joining has %d: the nodes are 0 to %d" (int .) $last) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.joining (ge (len .Values.joining) (int .Values.replicas)) -}}
{{- fail "joining has every node: one that joins needs nodes that the region has" -}}
{{- end -}}
{{- end -}}

{{/* Whether the node of a number joins, likewise: "true", or nothing. */}}
{{- define "mimir.joins" -}}
{{- $number := int .number -}}
{{- range .top.Values.joining -}}
{{- if eq (int .) $number -}}
true
{{- end -}}
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

{{/* Host of a node for nodes, with {name} for the name of its pod. */}}
{{- define "mimir.peerHost" -}}
{{- .Values.hosts.peer | default (printf "{name}.%s-peers.%s.svc" (include "mimir.name" .) .Release.Namespace) -}}
{{- end -}}

{{/* Host of a node for clients, likewise. */}}
{{- define "mimir.clientHost" -}}
{{- .Values.hosts.client | default (printf "{name}.%s-peers.%s.svc" (include "mimir.name" .) .Release.Namespace) -}}
{{- end -}}

{{/* The configuration file of the node of a number, likewise, but for what its pod has in the environment. */}}
{{- define "mimir.nodeConfig" -}}
{{- $top := .top -}}
{{- $joins := include "mimir.joins" . -}}
{{- $nodes := dict -}}
{{- range $i := until (int .top.Values.replicas) -}}
{{- $one := dict "top" $top "number" $i -}}
{{- if not (and $joins (include "mimir.joins" $one)) -}}
{{- $host := include "mimir.peerHost" $top | replace "{name}" (include "mimir.pod" $one) -}}
{{- $_ := set $nodes (include "mimir.node" $one) (printf "%s:%d" $host (int $top.Values.ports.peer)) -}}
{{- end -}}
{{- end -}}
{{- $own := dict "name" (include "mimir.node" .) "nodes" $nodes -}}
{{- if $joins -}}
{{- $_ := set $own "join" true -}}
{{- end -}}
{{- include "mimir.config" (dict "top" $top "own" $own) -}}
{{- end -}}

{{/* What the configuration files of all nodes have in common, as long as each is named as its pod. Another one restarts
     the nodes. */}}
{{- define "mimir.commonConfig" -}}
{{- $nodes := dict -}}
{{- range $i := until (int .Values.replicas) -}}
{{- $pod := include "mimir.pod" (dict "top" $ "number" $i) -}}
{{- $host := include "mimir.peerHost" $ | replace "{name}" $pod -}}
{{- $_ := set $nodes $pod (printf "%s:%d" $host (int $.Values.ports.peer)) -}}
{{- end -}}
{{- include "mimir.config" (dict "top" $ "own" (dict "nodes" $nodes)) -}}
{{- end -}}

{{/* A configuration file of "top", the root, that has beside the values' what is in "own". */}}
{{- define "mimir.config" -}}
{{- $own := .own -}}
{{- with .top -}}
{{- $config := dict
  "region" .Values.region
  "fleet" .Values.fleet
  "data-dir" "/var/lib/mimir/data"
  "listen-client" (printf ":%d" (int .Values.ports.client))
  "listen-peer" (printf ":%d" (int .Values.ports.peer))
  "listen-http" (printf ":%d" (int .Values.ports.http)) -}}
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
{{- mustMergeOverwrite $config $own (deepCopy .Values.config) | toYaml -}}
{{- end -}}
{{- end -}}
