#!/bin/sh
# Creates .venv from requirements.lock (with hashes) if it does not exist or the lock file has changed.
set -eu
cd "$(dirname "$0")/../.."
stamp=.venv/lock.sha256
want=$(cat requirements.lock pyproject.toml | sha256sum)
[ "$(cat $stamp 2>/dev/null)" = "$want" ] && exit 0

for python in python3 python3.13 python3.12 python3.11; do
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
    python=
done
[ -n "$python" ] || { echo "make: no Python 3.11 or later with venv; fix: apt-get install python3 python3-venv" >&2; exit 4; }
echo "creating .venv with $("$python" --version)"
"$python" -m venv --clear .venv
.venv/bin/pip -q --disable-pip-version-check install --require-hashes -r requirements.lock
.venv/bin/pip -q --disable-pip-version-check install --no-deps --editable .
echo "$want" >$stamp
# Under sudo, .venv belongs to the calling user.
[ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" .venv
