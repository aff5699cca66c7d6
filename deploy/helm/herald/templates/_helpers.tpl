{{/* What is set for MetalLB's speaker is meant for the agent. */}}
{{- define "herald.agent" -}}
{{- mustMergeOverwrite (deepCopy .Values.agent) (deepCopy (.Values.speaker | default dict)) | toYaml -}}
{{- end -}}

{{- define "herald.selector" -}}
app.kubernetes.io/name: herald
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "herald.labels" -}}
{{ include "herald.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{/* An image, by its value and the chart. */}}
{{- define "herald.image" -}}
image: {{ printf "%s:%s" .image.repository (.image.tag | default .chart.AppVersion) | quote }}
imagePullPolicy: {{ .image.pullPolicy }}
{{- end -}}

{{/* The probes of a container of Herald's. */}}
{{- define "herald.probes" -}}
{{- if .values.livenessProbe.enabled }}
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  {{- omit .values.livenessProbe "enabled" | toYaml | nindent 2 }}
{{- end }}
{{- if .values.readinessProbe.enabled }}
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  {{- omit .values.readinessProbe "enabled" | toYaml | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Values that cannot be followed are refused rather than ignored. */}}
{{- define "herald.check" -}}
{{- $agent := include "herald.agent" . | fromYaml -}}
{{- if .Values.configInline -}}
{{- fail "configInline: put the configuration into a ConfigMap named config with a key config, or into metallb.io resources" -}}
{{- end -}}
{{- if and .Values.frrk8s (or .Values.frrk8s.external .Values.frrk8s.namespace) -}}
{{- fail "frrk8s: Herald drives the FRR of its own pods; frrk8s.external and frrk8s.namespace cannot be followed" -}}
{{- end -}}
{{- if and (not $agent.memberlist.enabled) $agent.nodeSelector -}}
{{- fail "agent.nodeSelector: needs agent.memberlist.enabled, or nodes without an agent would own addresses" -}}
{{- end -}}
{{- if and .Values.prometheus.podMonitor.enabled .Values.prometheus.serviceMonitor.enabled -}}
{{- fail "prometheus: set podMonitor.enabled or serviceMonitor.enabled, not both" -}}
{{- end -}}
{{- end -}}
