#!/usr/bin/env bash
# Runs all tests; the arguments go to `dotnet test`. On Debian, as root, it first installs what the tests need.
# Elsewhere it says what is missing. With --prepare it runs none.
set -euo pipefail
cd "$(dirname "$0")"

# Debian packages.
needed=(apache2 chromium clang curl jq kamailio kamailio-extra-modules kamailio-presence-modules kamailio-utils-modules
  lld nginx nodejs npm openssl prometheus redis-sentinel redis-server python3-redis python3-websockets sip-tester systemd zlib1g-dev)

# Whether a package is there: most are named like the command that they bring.
is_there() {
  case $1 in
    kamailio-extra-modules) compgen -G '/usr/lib/*/kamailio/modules/acc_json.so' ;;
    kamailio-presence-modules) compgen -G '/usr/lib/*/kamailio/modules/presence.so' ;;
    kamailio-utils-modules) compgen -G '/usr/lib/*/kamailio/modules/http_client.so' ;;
    lld) command -v ld.lld ;;
    nodejs) command -v node ;;
    zlib1g-dev) [[ -e /usr/include/zlib.h ]] ;;
    sip-tester) command -v sipp ;;
    systemd) command -v systemd-analyze ;;
    python3-*) /usr/bin/python3 -c "import ${1#python3-}" ;;
    *) command -v "$1" ;;
  esac &>/dev/null
}

if ! command -v dotnet >/dev/null; then
  echo "Missing: the .NET SDK $(sed -n 's/.*"version": "\(.*\)".*/\1/p' global.json) or later, as the command dotnet." >&2
  exit 1
fi

missing=()
for package in "${needed[@]}"; do
  is_there "$package" || missing+=("$package")
done

if ((${#missing[@]} > 0)); then
  if [[ $EUID -ne 0 ]] || ! grep -qs '^ID=debian$' /etc/os-release; then
    echo "Missing: ${missing[*]}. On Debian: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
fi

[[ ${1:-} == --prepare ]] || exec dotnet test Dmb.slnx -c Release "$@"
