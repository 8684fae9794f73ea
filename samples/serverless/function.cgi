#!/usr/bin/env bash
# The desk as a CGI script, with jq and openssl: greets each user that connects, answers what a user says, sends to all what
# begins with "all: ". It holds no connection: the broker posts to it, and sends what it answers.
set -euo pipefail
export LC_ALL=C

if [[ $REQUEST_METHOD == OPTIONS ]]; then
  printf 'WebHook-Allowed-Origin: %s\r\nContent-Type: text/plain\r\n\r\n' "$HTTP_WEBHOOK_REQUEST_ORIGIN"
  exit
fi

# The dot keeps line breaks at the end, which $(…) would take away.
body=$(head -c "$CONTENT_LENGTH" && echo .)
body=${body%$'\n'.}
body=${body%.}
key=$(base64 -d <<<"${WEBHOOK_SECRET#whsec_}" | od -An -v -tx1 | tr -d ' \n')
wanted=$(printf '%s.%s.%s' "$HTTP_WEBHOOK_ID" "$HTTP_WEBHOOK_TIMESTAMP" "$body" |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)
age=$(($(date +%s) - HTTP_WEBHOOK_TIMESTAMP))
if [[ " $HTTP_WEBHOOK_SIGNATURE " != *" v1,$wanted "* ]] || ((age > 300 || age < -300)); then
  printf 'Status: 401 Unauthorized\r\nContent-Type: text/plain\r\n\r\n'
  exit
fi

printf 'Content-Type: application/json\r\n\r\n'
jq -c '.user as $user | {messages: (
  if .type == "connect" then [{to: $user, data: "Hello \($user)."}]
  elif .type != "message" then []
  elif (.data | tostring | startswith("all: ")) then [{data: "\($user): \(.data[5:])"}]
  else [{to: $user, data: "At \(.time) you said: \(.data)"}]
  end)}' <<<"$body"
