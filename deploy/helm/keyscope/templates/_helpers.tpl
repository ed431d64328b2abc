{{- define "keyscope.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "keyscope.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "keyscope.selector" . }}
{{- end }}

{{- define "keyscope.selector" -}}
app.kubernetes.io/name: keyscope
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
