#!/bin/sh
# Starts the agent or the beacon in a guest that mounts the shared root with virtiofs, read-only. The guest's own init has
# mounted /dev, /proc and /sys.
# Arguments, as of init.sh: tare.entry=agent|beacon  tare.scratch=/dev/vda  tare.address=ADDRESS/BITS[,GATEWAY]
set -eu

die() {
    echo "tare: $1" >&2
    exit 1
}

entry=agent scratch='' address='' port=''
for word in "$@"; do
    case $word in
    tare.entry=*) entry=${word#*=} ;;
    tare.scratch=*) scratch=${word#*=} ;;
    tare.address=*) address=${word#*=} ;;
    esac
done

mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mkdir -p /run/tare
hostname -F /etc/hostname 2>/dev/null || true
for file in /sys/class/virtio-ports/*/name; do
    read -r name <"$file"
    [ "$name" = tare ] || continue
    port=${file%/name}
    port=/dev/${port##*/}
done
[ -n "$port" ] || die 'no virtio-serial port named tare'
ln -s "$port" /run/tare/channel

ip link set lo up
if [ -n "$address" ]; then
    ip address add "${address%,*}" dev eth0
    ip link set eth0 up
    case $address in
    *,*) ip route add default via "${address#*,}" ;;
    esac
fi
if [ -n "$scratch" ]; then
    # As in init.sh
    mke2fs -q -F -t ext4 -b 4096 -i 65536 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$scratch" ||
        die "cannot format $scratch"
    mount -t ext4 -o noatime "$scratch" /scratch
fi
case $entry in
beacon) set -- /opt/tare/beacon /run/tare/channel ready ;;
*) set -- /usr/bin/python3 -I /opt/tare/agent.py /run/tare/channel ;;
esac
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux LC_ALL=C.UTF-8 "$@"
