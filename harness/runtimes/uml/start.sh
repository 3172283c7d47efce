#!/bin/sh
# From a guest's first byte to its agent or beacon. The root's own shell reads it from a disk, as PID 1, after the beacon:
# no initramfs is unpacked, and the root stays the one that every variant has.
# Kernel parameters: tare.entry=agent|beacon  tare.scratch=/dev/ubdb  tare.address=ADDRESS/BITS,GATEWAY
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

die() {
    echo "tare: $1" >/dev/console
    # Power off (reboot(2), LINUX_REBOOT_CMD_POWER_OFF): a panic would bury the message under registers.
    python3 -I -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
    exit 1
}

mount -t proc proc /proc || die 'cannot mount /proc'
entry=agent scratch='' address=''
read -r words </proc/cmdline
for word in $words; do
    case $word in
    tare.entry=*) entry=${word#*=} ;;
    tare.scratch=*) scratch=${word#*=} ;;
    tare.address=*) address=${word#*=} ;;
    esac
done

# Starting a program is dear here: few are started, and those do much each.
mount -o remount,rw,noatime / || die 'cannot write to the root'
while read -r line; do echo "$line"; done >/dev/mounts <<'TABLE'
sys /sys sysfs defaults
run /run tmpfs mode=755
tmp /tmp tmpfs mode=1777
devpts /dev/pts devpts mode=620,ptmxmode=666,X-mount.mkdir
shm /dev/shm tmpfs mode=1777,X-mount.mkdir
TABLE
mount -a -T /dev/mounts || die 'cannot mount what every root has'
mkdir /run/tare
read -r name </etc/hostname
echo "$name" >/proc/sys/kernel/hostname

{
    echo link set lo up
    if [ -n "$address" ]; then
        echo address add "${address%,*}" dev vec0
        echo link set vec0 up
        echo route add default via "${address#*,}"
    fi
} | ip -batch - || die 'no network'
if [ -n "$scratch" ]; then
    # No discard: it would punch holes into a disk that the host has allocated. Nothing lazy: that would write later,
    # while something is measured.
    mke2fs -q -F -t ext4 -b 4096 -i 65536 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$scratch" \
        >/dev/console 2>&1 || die "cannot format $scratch"
    mount -t ext4 -o noatime "$scratch" /scratch || die "cannot mount $scratch"
fi

# The channel is a serial line: raw, or it would echo and change bytes. Kept open, or the line would forget that.
exec 3<>/dev/ttyS0 || die 'no serial line'
stty raw -echo clocal -hupcl <&3
ln -s /dev/ttyS0 /run/tare/channel
cd /
case $entry in
beacon) set -- /opt/tare/beacon /run/tare/channel ready ;;
*) set -- /usr/bin/python3 -I /opt/tare/agent.py /run/tare/channel ;;
esac
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux LC_ALL=C.UTF-8 "$@"
