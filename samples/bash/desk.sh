#!/usr/bin/env bash
# The desk over Redis, with redis-cli: greets each user that connects, answers what a user says, and sends to all what
# begins with "all: ".
set -uo pipefail
export LC_ALL=C

file=desk.bkid bkid= listener=

# A text in JSON, without its quotes: put between other quotes it is still JSON.
text='"(([^"\\]|\\.)*)"'
connect='^\{"type":"connect","bkid":"[^"]*","user":'$text','
message='^\{"type":"message","bkid":"[^"]*","user":'$text',"session":"[^"]*","id":"[^"]*","data":(.*),"time":"([^"]*)"\}$'

redis() {
  redis-cli -h "${REDIS_HOST:-localhost}" -p "${REDIS_PORT:-6379}" "$@"
}

register() { # nonce
  local known=null
  [[ -s $file ]] && known="\"$(<"$file")\""
  redis PUBLISH dmb:register "{\"type\":\"bk_connect\",\"name\":\"desk\",\"reply_to\":\"desk:$1\",\"bkid\":$known,\"nonce\":\"$1\"}" >/dev/null
}

# Through stdin, which takes a longer message than an argument. Without a subscriber the publish fails.
send() { # id, the other members of a bk_message
  (($(printf '{"type":"bk_message","id":"%s",%s}' "$1" "$2" | redis -x PUBLISH "dmb:$bkid") > 0))
}

reply() { # id, what a user said or did
  if [[ $2 =~ $connect ]]; then
    local user=${BASH_REMATCH[1]}
    send "$1" "\"to\":\"$user\",\"data\":\"Hello $user.\""
  elif [[ $2 =~ $message ]]; then
    local user=${BASH_REMATCH[1]} data=${BASH_REMATCH[3]} time=${BASH_REMATCH[4]}
    if ((${#data} > 1000)) || ! [[ $data =~ ^$text$ ]]; then
      send "$1" "\"to\":\"$user\",\"data\":\"Please send a short text.\""
    elif [[ $data == '"all: '* ]]; then
      send "$1" "\"data\":\"$user: ${data#'"all: '}"
    else
      send "$1" "\"to\":\"$user\",\"data\":\"At $time you said: ${data#'"'}"
    fi
  fi
}

# Answers what is stored: first what was read in an earlier life and never answered, then what is new.
# Line breaks in JSON stand between its tokens, so that spaces do as well.
answer_stored() {
  local stream="dmb:$bkid:uplink" start answer found entry id json
  for start in 0 '>'; do
    while answer=$(redis XREADGROUP GROUP desk desk COUNT 1 STREAMS "$stream" "$start" | tr '\n' ' ') || return; do
      read -r found entry _ id _ json <<<"$answer"
      [[ -n $found ]] || break
      [[ $found == "$stream" ]] || { echo "$answer" >&2; return 1; }
      [[ -n $entry ]] || break
      reply "$id" "$json" && redis XACK "$stream" desk "$entry" >/dev/null || return
    done
  done
}

# Registers, and answers what is stored and what comes, until Redis or the broker fails.
# One redis-cli listens; what it prints is a channel's name, and then what came there.
serve() {
  local nonce line='' before status
  nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
  exec 3< <(exec redis-cli -h "${REDIS_HOST:-localhost}" -p "${REDIS_PORT:-6379}" SUBSCRIBE "desk:$nonce" dmb:uplink)
  listener=$! bkid=
  while true; do
    before=$line
    read -r -t 5 line <&3
    status=$?
    if ((status > 128)); then
      # Nothing came for 5 s. To ask again is safe: the nonce makes it one registration.
      if [[ -n $bkid ]]; then answer_stored; else register "$nonce"; fi || return
    elif ((status > 0)); then
      return
    elif [[ $before == dmb:uplink && $line == 2 ]]; then
      register "$nonce" || return
    elif [[ $before == "desk:$nonce" && $line == '{"type":"bk_connect_ack","ok":true,"bkid":"'* ]]; then
      bkid=${line#*'"bkid":"'} bkid=${bkid%%'"'*}
      echo "$bkid" >"$file"
      echo "desk $bkid"
      redis XGROUP CREATE "dmb:$bkid:uplink" desk 0 MKSTREAM >/dev/null
      answer_stored || return
    elif [[ $before == "desk:$nonce" && $line == *'"ok":false'* ]]; then
      echo "$line" >&2
      exit 1
    elif [[ $before == dmb:uplink && -n $bkid && $line == *"\"bkid\":\"$bkid\""* ]]; then
      answer_stored || return
    fi
  done
}

trap 'kill "$listener" 2>/dev/null' EXIT

for ((attempt = 0; ; attempt++)); do
  SECONDS=0
  serve
  kill "$listener" 2>/dev/null
  ((SECONDS > 10)) && attempt=0
  most=$((500 << (attempt < 6 ? attempt : 6)))
  wait=$((RANDOM % (most > 30000 ? 30000 : most)))
  echo "Redis or the broker is away; again in $wait ms" >&2
  sleep "$(printf %d.%03d $((wait / 1000)) $((wait % 1000)))"
done
