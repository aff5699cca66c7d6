{{/* The process of a series, for texts of alerts: the label node is there if the chart's monitors, or a configuration as in docs/monitoring.md, set it. */}}
{{- define "herald.where" -}}
{{ "{{ or $labels.node $labels.pod $labels.instance }}" }}
{{- end -}}

{{/*
An alert, if its values have it enabled: of (its values), alert (the name), expr, for,
summary, description; runbook is the anchor in docs/alerts.md if that is not the name.
*/}}
{{- define "herald.alert" -}}
{{- if .of.enabled }}
- alert: {{ .alert }}
  expr: {{ .expr | trim | toYaml | nindent 4 | trim }}
  for: {{ .for }}
  {{- with .of.labels }}
  labels: {{ toYaml . | nindent 4 }}
  {{- end }}
  annotations:
    summary: {{ .summary | replace "WHERE" (include "herald.where" .) | quote }}
    description: {{ .description | replace "WHERE" (include "herald.where" .) | quote }}
    runbook_url: {{ printf "%s#%s" .root.runbookURL (.runbook | default .alert | lower) | quote }}
{{- end }}
{{- end -}}
