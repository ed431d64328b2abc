{{/* The pod of one component: (dict "root" $ "component" "commands"). */}}
{{- define "keyscope.pod" -}}
{{- $values := .root.Values -}}
{{- $own := index $values .component -}}
{{- $role := ternary "gateway" "service" (eq .component "gateway") -}}
{{- $stores := has .component (list "commands" "relay") -}}
{{- $jwt := and (eq .component "gateway") $values.gateway.jwt.secret -}}
metadata:
  labels:
    {{- include "keyscope.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  serviceAccountName: {{ include "keyscope.name" .root }}
  automountServiceAccountToken: false
  {{- with $values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  # It stops taking requests, ends what has begun, and has twenty seconds more.
  terminationGracePeriodSeconds: {{ add $values.drainSeconds 20 }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "keyscope.selector" $.root | nindent 10 }}
          app.kubernetes.io/component: {{ $.component }}
    {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: "{{ $values.image.repository }}:{{ $values.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [run, {{ .component }}]
      env:
        {{- $settings := dict
          "KEYSCOPE_NATS_URL" $values.nats.url
          "KEYSCOPE_PREFIX" $values.nats.prefix
          "KEYSCOPE_REPLICAS" $values.nats.streamReplicas
          "KEYSCOPE_DRAIN_SECONDS" $values.drainSeconds
          "KEYSCOPE_METRICS_HOST" "0.0.0.0"
          "KEYSCOPE_METRICS_PORT" 9100
          "KEYSCOPE_DATA_DIR" "/var/lib/keyscope"
          "KEYSCOPE_LOG_FORMAT" "json" }}
        {{- if eq $values.nats.auth.kind "none" }}
        {{- $_ := set $settings "KEYSCOPE_INSECURE" "true" }}
        {{- else }}
        {{- $file := ternary "NKEY" "CREDENTIALS" (eq $values.nats.auth.kind "nkey") }}
        {{- $_ := set $settings (printf "KEYSCOPE_NATS_%s" $file) "/etc/keyscope/nats/key" }}
        {{- $_ := set $settings "KEYSCOPE_NATS_INBOX" (index $values.nats.auth (printf "%sInbox" $role)) }}
        {{- end }}
        {{- if $values.nats.tls.caSecret }}
        {{- $_ := set $settings "KEYSCOPE_NATS_TLS_CA" "/etc/keyscope/nats-ca/ca.crt" }}
        {{- end }}
        {{- if $values.nats.tls.clientSecret }}
        {{- $_ := set $settings "KEYSCOPE_NATS_TLS_CERT" "/etc/keyscope/nats-tls/tls.crt" }}
        {{- $_ := set $settings "KEYSCOPE_NATS_TLS_KEY" "/etc/keyscope/nats-tls/tls.key" }}
        {{- end }}
        {{- if $stores }}
        {{- $_ := set $settings "KEYSCOPE_EVENT_STORE_FILE" "/etc/keyscope/event-store/url" }}
        {{- end }}
        {{- if eq .component "gateway" }}
        {{- $_ := set $settings "KEYSCOPE_HTTP_HOST" "0.0.0.0" }}
        {{- $_ := set $settings "KEYSCOPE_HTTP_PORT" 9000 }}
        {{- end }}
        {{- if $jwt }}
        {{- $_ := set $settings "KEYSCOPE_HTTP_JWT_SECRET_FILE" "/etc/keyscope/jwt/secret" }}
        {{- end }}
        {{- range $name, $value := mergeOverwrite $settings $values.settings $own.settings }}
        - name: {{ $name }}
          value: {{ $value | toString | quote }}
        {{- end }}
      ports:
        - {name: metrics, containerPort: 9100}
        {{- if eq .component "gateway" }}
        - {name: http, containerPort: 9000}
        {{- end }}
      # A start may wait for NATS, for PostgreSQL, and for a read model to be built: only a loop that stands is no life.
      startupProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 2
        failureThreshold: {{ div (eq .component "query" | ternary $values.query.startSeconds 300) 2 }}
      livenessProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 3
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 5
        timeoutSeconds: 3
      {{- if eq .component "gateway" }}
      # Until every proxy has heard that this pod goes.
      lifecycle:
        preStop: {sleep: {seconds: 5}}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      resources: {{ toYaml $own.resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/keyscope}
        - {name: tmp, mountPath: /tmp}
        {{- if ne $values.nats.auth.kind "none" }}
        - {name: nats, mountPath: /etc/keyscope/nats, readOnly: true}
        {{- end }}
        {{- if $values.nats.tls.caSecret }}
        - {name: nats-ca, mountPath: /etc/keyscope/nats-ca, readOnly: true}
        {{- end }}
        {{- if $values.nats.tls.clientSecret }}
        - {name: nats-tls, mountPath: /etc/keyscope/nats-tls, readOnly: true}
        {{- end }}
        {{- if $stores }}
        - {name: event-store, mountPath: /etc/keyscope/event-store, readOnly: true}
        {{- end }}
        {{- if $jwt }}
        - {name: jwt, mountPath: /etc/keyscope/jwt, readOnly: true}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {}}
    {{- if not (and (eq .component "query") $values.query.storage.persistent) }}
    - {name: data, emptyDir: {}}
    {{- end }}
    {{- if ne $values.nats.auth.kind "none" }}
    - name: nats
      secret:
        secretName: {{ $values.nats.auth.secret }}
        defaultMode: 0440
        items: [{key: {{ $role }}.{{ ternary "nk" "creds" (eq $values.nats.auth.kind "nkey") }}, path: key}]
    {{- end }}
    {{- with $values.nats.tls.caSecret }}
    - name: nats-ca
      secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}]}
    {{- end }}
    {{- with $values.nats.tls.clientSecret }}
    - name: nats-tls
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- if $stores }}
    - name: event-store
      secret:
        secretName: {{ $values.eventStore.secret }}
        defaultMode: 0440
        items: [{key: {{ $values.eventStore.key }}, path: url}]
    {{- end }}
    {{- if $jwt }}
    - name: jwt
      secret:
        secretName: {{ $values.gateway.jwt.secret }}
        defaultMode: 0440
        items: [{key: {{ $values.gateway.jwt.key }}, path: secret}]
    {{- end }}
{{- end }}
