{{- define "horde.name" -}}{{ .root.Release.Name }}-{{ .service }}{{- end }}
{{- define "horde.prefix" -}}HORDE_{{ .service | upper | replace "-" "_" }}_{{- end }}
{{- define "horde.selector" -}}
app.kubernetes.io/name: horde-mesh
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}
{{- define "horde.labels" -}}
{{ include "horde.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}
{{- define "horde.image" -}}
{{ .root.Values.image.registry }}horde-{{ .service }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{/* HOST:PORT at which the other services call a service. */}}
{{- define "horde.address" -}}
{{- $callee := index .root.Values.services .service -}}
{{ include "horde.name" . }}.{{ .root.Release.Namespace }}.svc:{{ $callee.port | default $callee.doorPort }}
{{- end }}
{{/* Every variable of a service's container. */}}
{{- define "horde.environment" -}}
{{- $root := .root }}{{- $service := .service }}{{- $told := .told }}{{- $prefix := include "horde.prefix" . }}
{{- $values := dict "LOG_FORMAT" "json" }}
{{- $_ := set $values "HEALTH_LISTEN" (printf "0.0.0.0:%d" (int $root.Values.healthPort)) }}
{{- $_ := set $values "METRICS_LISTEN" (printf "0.0.0.0:%d" (int $root.Values.metricsPort)) }}
{{- if $told.stranger }}
{{- if eq $root.Values.doors.mode "plaintext" }}
{{- $_ := set $values "GATEWAY_PLAINTEXT" "true" }}
{{- else }}
{{- $_ := set $values "TLS_CERTIFICATE" "/door/tls.crt" }}
{{- $_ := set $values "TLS_KEY" "/door/tls.key" }}
{{- end }}
{{- else }}
{{- $_ := set $values "STATE_DIR" "/state" }}
{{- $_ := set $values "TLS_CERTIFICATE" "/tls/tls.crt" }}
{{- $_ := set $values "TLS_KEY" "/tls/tls.key" }}
{{- $_ := set $values "TLS_AUTHORITIES" "/tls/ca.crt" }}
{{- $_ := set $values "TLS_NAME_SUFFIX" $root.Values.nameSuffix }}
{{- end }}
{{- if $told.doorPort }}
{{- $_ := set $values "LISTEN" (printf "0.0.0.0:%d" (int $told.doorPort)) }}
{{- if eq $root.Values.doors.mode "plaintext" }}
{{- $_ := set $values "PLAINTEXT" "true" }}
{{- else if not $told.stranger }}
{{- $_ := set $values "DOOR_CERTIFICATE" "/door/tls.crt" }}
{{- $_ := set $values "DOOR_KEY" "/door/tls.key" }}
{{- end }}
{{- if $told.port }}{{- $_ := set $values "INTERNAL_LISTEN" (printf "0.0.0.0:%d" (int $told.port)) }}{{- end }}
{{- with $root.Values.doors.proxies }}{{- $_ := set $values "FORWARDED_FROM" . }}{{- end }}
{{- else }}
{{- $_ := set $values "LISTEN" (printf "0.0.0.0:%d" (int $told.port)) }}
{{- end }}
{{- range $callee, $variable := $told.calls }}
{{- if (index $root.Values.services $callee).enabled }}
{{- $_ := set $values $variable (include "horde.address" (dict "root" $root "service" $callee)) }}
{{- end }}
{{- end }}
{{- if $told.signs }}
{{- $_ := set $values "SIGNING_KEY_FILE" (printf "/keys/%s-%s.pem" $service $told.signs) }}
{{- $_ := set $values "PUBLIC_KEYS_DIR" "/public-keys" }}
{{- end }}
{{- if $told.storageAddress }}{{- $_ := set $values $told.storageAddress (required "doors.storage: where strangers reach the storage router, HOST:PORT" $root.Values.doors.storage) }}{{- end }}
{{- if eq $service "gateway" }}
{{- $_ := set $values "PEPPER_FILE" "/keys/gateway-pepper" }}
{{- $_ := set $values "PASS_KEY_FILE" "/keys/gateway-pass-key" }}
{{- $_ := set $values "OPERATOR_KEY_FILE" "/keys/gateway-operator-key" }}
{{- end }}
{{- if eq $service "webhooks" }}{{- $_ := set $values "SECRETS_KEY_FILE" "/keys/webhooks-secrets-key" }}{{- end }}
{{- with $told.redis }}{{- if .url }}
{{- $_ := set $values "REDIS_URL" .url }}
{{- if .secretName }}{{- $_ := set $values "REDIS_PASSWORD_FILE" (printf "/redis/%s" .key) }}{{- end }}
{{- end }}{{- end }}
{{- with $told.s3 }}
{{- $_ := set $values "S3_ENDPOINT" (required (printf "services.%s.s3.endpoint: HOST:PORT of the S3 server" $service) .endpoint) }}
{{- $_ := set $values "SHARED_BUCKET" .sharedBucket }}
{{- if .privateBucket }}
{{- $_ := set $values "PRIVATE_BUCKET" .privateBucket }}
{{- $_ := set $values "PRIVATE_SECRET_FILE" "/s3/private-secret" }}
{{- $_ := set $values "SHARED_SECRET_FILE" "/s3/shared-secret" }}
{{- else }}
{{- $_ := set $values "SECRET_FILE" "/s3/secret" }}
{{- end }}
{{- if .releasesBucket }}{{- $_ := set $values "RELEASES_BUCKET" .releasesBucket }}{{- end }}
{{- end }}
{{- with $root.Values.monitoring.telemetryEndpoint }}{{- $_ := set $values "TELEMETRY_ENDPOINT" . }}{{- end }}
{{- $values = mergeOverwrite $values (deepCopy $root.Values.settings) (deepCopy ($told.settings | default dict)) }}
{{- range $name, $value := $values }}
- name: {{ $prefix }}{{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- with $told.database }}
- name: {{ $prefix }}DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .secretName }}, key: {{ .key }}}}
{{- end }}
{{- with $told.s3 }}
{{- if .privateBucket }}
- name: {{ $prefix }}PRIVATE_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .secretName }}, key: private-access-key}}
- name: {{ $prefix }}SHARED_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .secretName }}, key: shared-access-key}}
{{- else }}
- name: {{ $prefix }}ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .secretName }}, key: access-key}}
{{- end }}
{{- end }}
{{- end }}
{{/* Streams move when a pod goes: seldom, and one at a time. */}}
{{- define "horde.scaledown" -}}
scaleDown: {stabilizationWindowSeconds: 600, policies: [{type: Pods, value: 1, periodSeconds: 120}]}
{{- end }}
