#!/bin/sh
# Installs the missing system packages and records them for `tare clean --packages`.
# usage: system.sh [FILE...]  (FILE: a list of further packages, one a line)
# The packages of optional.txt are installed if the distribution has them and no password prompt is necessary.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
ledger=${TARE_STATE:-/var/lib/tare}/packages.installed

installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

wanted=$(cat "$here/packages.txt" "$@" | grep -v '^#')
# Another Docker engine (e.g. docker-ce) is used unchanged: Debian's docker.io would replace parts of it.
command -v dockerd >/dev/null 2>&1 || wanted="$wanted docker.io"

command -v apt-get >/dev/null 2>&1 || {
    echo "make: apt-get is missing; install the equivalents of these Debian packages, then harness/setup/venv.sh: $wanted" | tr '\n' ' ' >&2
    exit 4
}
missing=
for package in $wanted; do installed "$package" || missing="$missing $package"; done
optional() {
    for package in $(grep -v '^#' "$here/optional.txt"); do
        installed "$package" || ! apt-cache show "$package" >/dev/null 2>&1 || printf ' %s' "$package"
    done
}
[ -n "$missing$(optional)" ] || exit 0

if [ "$(id -u)" = 0 ]; then as_root=
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then as_root=sudo
elif [ -z "$missing" ]; then exit 0
else
    echo "make: system packages are missing; run this command once as root, then repeat the make command:" >&2
    echo "  apt-get update && apt-get install --no-remove --no-install-recommends$missing" >&2
    exit 4
fi
echo "installing system packages:$missing$(optional)"
before=$(mktemp)
trap 'rm -f "$before"' EXIT
dpkg-query -W -f '${Package}\n' | sort >"$before"
# Without systemd, RUNLEVEL=1 prevents packages from starting daemons: tare starts private daemons when it needs them.
[ -d /run/systemd/system ] || export RUNLEVEL=1
$as_root apt-get -qq update
$as_root env DEBIAN_FRONTEND=noninteractive ${RUNLEVEL:+RUNLEVEL=1} \
    apt-get -qq -y install --no-remove --no-install-recommends $missing $(optional) >/dev/null
$as_root mkdir -p "$(dirname "$ledger")"
dpkg-query -W -f '${Package}\n' | sort | comm -13 "$before" - | $as_root tee -a "$ledger" >/dev/null
