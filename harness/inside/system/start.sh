#!/bin/sh
# start.sh prepare|run: the full system's way to the beacon or the agent, once systemd has brought up what services stand
# on. `prepare` does what init.sh does in a guest that is only the root, after the same words (a credential that the
# firmware handed on), and lets the beacon speak; systemd then counts the service as started. `run` is what stays.
# tare.entry=agent|beacon  tare.scratch=/dev/vdb  tare.address=ADDRESS/BITS[,GATEWAY]
set -eu

# $1: a test, $2: what it waits for; a minute, for an emulated guest whose udev is still busy
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
    # As in init.sh: no discard, nothing lazy
    mke2fs -q -F -t ext4 -b 4096 -i 65536 \
        -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$scratch"
    mount -t ext4 -o noatime "$scratch" /scratch
fi
mkdir -p /run/tare
ln -sf /dev/virtio-ports/tare /run/tare/channel
[ "$entry" = agent ] || /opt/tare/beacon /run/tare/channel ready /bin/true
