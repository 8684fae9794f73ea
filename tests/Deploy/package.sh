#!/usr/bin/env bash
# Installs, starts, upgrades, removes and purges the Debian package on this machine, as root, and checks that nothing of
# it is left: tests/Deploy/package.sh PROGRAM, a native Dmb. No systemd runs here: the command line of the unit is started
# as the unit says, by its user, with its file of settings.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=$(realpath "${1:?The native program is missing: tests/Deploy/package.sh out/Dmb}")

if [[ $EUID -ne 0 ]] || dpkg -s dmb &>/dev/null || getent passwd dmb >/dev/null; then
  echo "It takes root, and a machine that has neither the package dmb nor the user." >&2
  exit 1
fi

work=$(mktemp -d)
node=
clean() {
  [[ -z $node ]] || kill "$node" 2>/dev/null || true
  dpkg --purge dmb &>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT

fail() {
  echo "package.sh: $*" >&2
  [[ ! -e $work/log ]] || cat "$work/log" >&2
  exit 1
}

# All that a package may leave: names below these folders, and the users.
state() {
  find /etc /lib/systemd /usr/bin /usr/share /var/lib/systemd -name '*dmb*' | sort
  sort /etc/passwd /etc/group
}

# Starts the unit's command line and waits until it is healthy.
start() {
  local unit=/lib/systemd/system/dmb.service
  value() { sed -n "s/^$1=//p" $unit; }
  [[ $(value EnvironmentFile) == -/etc/default/dmb ]] || fail "the unit has no file of settings"
  (
    cd "$(value WorkingDirectory)"
    mapfile -t settings < <(grep -v '^#' /etc/default/dmb)
    exec setpriv --reuid "$(value User)" --regid "$(value Group)" --clear-groups --no-new-privs \
      env -i "${settings[@]}" "$(value ExecStart)" &>"$work/log"
  ) &
  node=$!
  until DMB_PORT=$port dmb --health &>/dev/null; do
    kill -0 "$node" 2>/dev/null || fail "the node ended"
  done
}

stop() {
  kill "$node"
  wait "$node" || fail "the node ended with $?"
  node=
}

state >"$work/before"
deb=$(deploy/debian/build.sh "$program" "$work")
next=$(VERSION=9.0.0 deploy/debian/build.sh "$program" "$work")
echo "$(basename "$deb"): $(($(stat -c %s "$deb") / 1024 / 1024)) MiB"

dpkg -i "$deb" >/dev/null
[[ $(dmb --version) == dmb\ * ]] || fail "dmb is not in the path"
[[ $(stat -c '%U:%G %a' /etc/dmb /etc/default/dmb) == $'root:dmb 750\nroot:root 640' ]] || fail "files have other owners"
[[ -L /etc/systemd/system/multi-user.target.wants/dmb.service ]] || fail "the service is not enabled"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
line=$(dmb key ops admin)
(umask 027 && echo "$line" >/etc/dmb/keys && chgrp dmb /etc/dmb/keys)
printf 'DMB_PORT=%s\nDMB_KEYS_FILE=/etc/dmb/keys\nREDIS_HOST=none\n' "$port" >>/etc/default/dmb
export DMB_URL=http://127.0.0.1:$port DMB_KEY
DMB_KEY=$(cut -d: -f2 <<<"$line")
start
dmb pub call '{"endpoint":"1234"}' >/dev/null || fail "a message was refused"
! DMB_KEY=wrong dmb pub call '{}' &>/dev/null || fail "a message with a wrong key was taken"
stop

# An upgrade keeps what was set.
dpkg -i "$next" >/dev/null
[[ $(dpkg-query -W -f '${Version}' dmb) == 9.0.0 ]] || fail "the package was not upgraded"
start
dmb pub call '{}' >/dev/null || fail "a message was refused after the upgrade"
stop

# A removal keeps settings and keys, a purge nothing.
dpkg --remove dmb >/dev/null
[[ ! -e /usr/bin/dmb && -e /etc/dmb/keys ]] && grep -q "$port" /etc/default/dmb || fail "a removal took settings"
dpkg --purge dmb >/dev/null
state >"$work/after"
diff "$work/before" "$work/after" || fail "a purge left something"
echo "The package was installed, started, upgraded, removed and purged."
