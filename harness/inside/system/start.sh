#!/bin/sh
# start.sh prepare|run: starts the beacon or the agent in a full system, as a service of systemd.
# `prepare` sets up address and scratch like init.sh, and runs the beacon; systemd then counts the service as started.
# `run` is the main process. The parameters are those of init.sh, in a credential from the firmware:
# tare.entry=agent|beacon  tare.scratch=/dev/vdb  tare.address=ADDRESS/BITS[,GATEWAY]
set -eu

# $1: a test, $2: the name of what it waits for; at most one minute, for an emulated guest whose udev is still busy
await() {
    left=1200
    until eval "$1"; do
        left=$((left - 1))
        [ $left -gt 0 ] || { echo "tare: no $2" >&2; exit 1; }
        sleep 0.05
    done
}

entry=agent scratch='' address=''
for word in $(cat "$CREDENTIALS_DIRECTORY/tare.place"); do
    case $word in
    tare.entry=*) entry=${word#*=} ;;
    tare.scratch=*) scratch=${word#*=} ;;
    tare.address=*) address=${word#*=} ;;
    esac
done

if [ "$1" = run ]; then
    [ "$entry" = agent ] || exec sleep infinity
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux LC_ALL=C.UTF-8 \
        /usr/bin/python3 -I /opt/tare/agent.py /run/tare/channel
fi

if [ -n "$address" ]; then
    await '[ -e /sys/class/net/eth0 ]' eth0
    ip address add "${address%,*}" dev eth0
    ip link set eth0 up
    case $address in
    *,*) ip route add default via "${address#*,}" ;;
    esac
fi
if [ -n "$scratch" ]; then
    await '[ -b "$scratch" ]' "$scratch"
    # As in init.sh: no discard, no lazy initialization
    mke2fs -q -F -t ext4 -b 4096 -i 65536 \
        -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$scratch"
    mount -t ext4 -o noatime "$scratch" /scratch
fi
mkdir -p /run/tare
ln -sf /dev/virtio-ports/tare /run/tare/channel
[ "$entry" = agent ] || /opt/tare/beacon /run/tare/channel ready /bin/true
