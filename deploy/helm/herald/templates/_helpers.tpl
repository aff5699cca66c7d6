{{/*
What is set for MetalLB's speaker is meant for the agent, its startupProbe for the
FRR container as there. Two things are not followed. Its
images are MetalLB's. And frr.enabled chooses there among kinds of BGP, so that
MetalLB's own default, false, does not mean that there is none.
*/}}
{{- define "herald.agent" -}}
{{- $speaker := deepCopy (.Values.speaker | default dict) -}}
{{- $image := pick ($speaker.image | default dict) "pullPolicy" -}}
{{- $frrImage := pick (dig "frr" "image" dict $speaker) "pullPolicy" -}}
{{- $frr := omit ($speaker.frr | default dict) "enabled" "image" -}}
{{- $frr = mustMerge (dict "image" $frrImage "startupProbe" ($speaker.startupProbe | default dict)) $frr -}}
{{- $followed := mustMerge (dict "image" $image "frr" $frr) (omit $speaker "image" "frr" "startupProbe" "command" "initContainers") -}}
{{- mustMergeOverwrite (deepCopy .Values.agent) $followed | toYaml -}}
{{- end -}}

{{/* The ConfigMap to read, if it is not the default one. The ConfigMap of configInline has the default name. */}}
{{- define "herald.configMap" -}}
{{- if not .Values.configInline }}{{ .Values.existingConfigMap }}{{ end -}}
{{- end -}}

{{- define "herald.selector" -}}
app.kubernetes.io/name: herald
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "herald.labels" -}}
{{ include "herald.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{/* Not empty if a repository holds MetalLB's images or plain FRR rather than Herald's. */}}
{{- define "herald.foreign" -}}
{{- if and (regexMatch "metallb|frrouting/frr" .) (not (contains "herald" .)) -}}yes{{- end -}}
{{- end -}}

{{/* The controller's values, without MetalLB's image if they name one. */}}
{{- define "herald.controller" -}}
{{- $v := deepCopy .Values.controller -}}
{{- if include "herald.foreign" $v.image.repository -}}
{{- $_ := mustMergeOverwrite $v.image (dict "repository" "herald/controller" "tag" "") -}}
{{- end -}}
{{- toYaml $v -}}
{{- end -}}

{{/* An image, by its value and the chart. */}}
{{- define "herald.image" -}}
image: {{ printf "%s:%s" .image.repository (.image.tag | default .chart.AppVersion) | quote }}
imagePullPolicy: {{ .image.pullPolicy | default "IfNotPresent" }}
{{- end -}}

{{/* The probes of one of Herald's containers: the name of its port, and the path of the liveness probe. */}}
{{- define "herald.probes" -}}
{{- $port := .port }}{{ $alive := .alive }}
{{- range list (list "startupProbe" .values.startupProbe $alive) (list "livenessProbe" .values.livenessProbe $alive) (list "readinessProbe" .values.readinessProbe "/readyz") }}
{{- $probe := index . 1 }}
{{- if and $probe $probe.enabled }}
{{ index . 0 }}:
  httpGet: {path: {{ index . 2 }}, port: {{ $port }}}
  {{- omit $probe "enabled" "port" | toYaml | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Not empty if metrics need TLS and a token: a value says so, or says how TLS is to be. */}}
{{- define "herald.secure" -}}
{{- $p := .Values.prometheus -}}
{{- $tls := .Values.tls | default dict -}}
{{- $frr := (include "herald.agent" . | fromYaml).frr -}}
{{- if kindIs "bool" $p.secureMetrics -}}
{{- if $p.secureMetrics }}yes{{ end -}}
{{- else if or $p.secureMetricsPort $frr.secureMetricsPort $p.controllerMetricsTLSSecret $p.speakerMetricsTLSSecret $tls.minVersion $tls.cipherSuites $tls.curvePreferences -}}
yes
{{- end -}}
{{- end -}}

{{/* The port of controller and agents. MetalLB's charts up to 0.13 had another one for TLS. */}}
{{- define "herald.metricsPort" -}}
{{- if include "herald.secure" . }}{{ .Values.prometheus.secureMetricsPort | default .Values.prometheus.metricsPort }}{{ else }}{{ .Values.prometheus.metricsPort }}{{ end -}}
{{- end -}}

{{/* The port of the FRR container. */}}
{{- define "herald.frrPort" -}}
{{- $frr := (include "herald.agent" . | fromYaml).frr -}}
{{- if include "herald.secure" . }}{{ $frr.secureMetricsPort | default $frr.metricsPort }}{{ else }}{{ $frr.metricsPort }}{{ end -}}
{{- end -}}

{{/* The port of the controllers' page, if others than their pods can reach it. */}}
{{- define "herald.pagePort" -}}
{{- $at := .Values.controller.pageAddress -}}
{{- if and $at (not (regexMatch "^(127\\.[0-9.]+|\\[::1\\]|localhost):" $at)) }}{{ regexFind "[0-9]+$" $at }}{{ end -}}
{{- end -}}

{{/* Arguments about TLS, by the chart's values, those of a component and the Secret with its certificate. */}}
{{- define "herald.secureArgs" -}}
{{- if include "herald.secure" .root }}
{{- $tls := .root.Values.tls | default dict }}
- --secure-metrics
{{- with $tls.minVersion | default .values.tlsMinVersion }}
- --tls-min-version={{ . }}
{{- end }}
{{- with $tls.cipherSuites | default .values.tlsCipherSuites }}
- --tls-cipher-suites={{ . }}
{{- end }}
{{- with $tls.curvePreferences }}
- {{ printf "--tls-curve-preferences=%v" . | quote }}
{{- end }}
{{- if .secret }}
- --metrics-cert-dir=/etc/herald/certificate
{{- end }}
{{- end }}
{{- end -}}

{{/* How pods are replaced. Only the type RollingUpdate has rollingUpdate. */}}
{{- define "herald.strategy" -}}
{{- if eq (.type | default "RollingUpdate") "RollingUpdate" }}{{ toYaml . }}{{ else }}{{ omit . "rollingUpdate" | toYaml }}{{ end -}}
{{- end -}}

{{/* The service account of a component. */}}
{{- define "herald.account" -}}
{{ .values.serviceAccount.name | default (printf "herald-%s" .component) }}
{{- end -}}

{{/* Values that Herald cannot carry out are refused, not ignored. */}}
{{- define "herald.check" -}}
{{- $agent := include "herald.agent" . | fromYaml -}}
{{- if and .Values.frrk8s (or .Values.frrk8s.external .Values.frrk8s.namespace) -}}
{{- fail "frrk8s: Herald uses the FRR of its own pods; frrk8s.external and frrk8s.namespace are not supported" -}}
{{- end -}}
{{- if or (include "herald.foreign" $agent.image.repository) (include "herald.foreign" $agent.frr.image.repository) -}}
{{- fail "agent.image, agent.frr.image: use Herald's images; MetalLB's images and plain FRR cannot replace them" -}}
{{- end -}}
{{- if and (not $agent.memberlist.enabled) $agent.nodeSelector -}}
{{- fail "agent.nodeSelector: needs agent.memberlist.enabled, or nodes without an agent would own addresses" -}}
{{- end -}}
{{- if and .Values.prometheus.podMonitor.enabled .Values.prometheus.serviceMonitor.enabled -}}
{{- fail "prometheus: set podMonitor.enabled or serviceMonitor.enabled, not both" -}}
{{- end -}}
{{- end -}}
