#!/bin/sh
# Switches a guest from its initramfs to the shared root; runs after the beacon. It uses only busybox and no unnecessary
# sleep, because every millisecond here is part of the guest's boot time.
# Kernel parameters: tare.entry=agent|beacon  tare.scratch=/dev/vdb  tare.address=ADDRESS/BITS[,GATEWAY]
# tare.channel=/dev/ttyS0 (without virtio-serial)  tare.root=/dev/vda  tare.balloon (with a balloon device)
# /modules.list contains the file names in /modules in load order.
export PATH=/bin

die() {
    echo "tare: $1" >/dev/console
    poweroff -f
}

# $1: a test, $2: the name of what it waits for; at most ten seconds, which suffices for an emulated guest
await() {
    left=1000
    until eval "$1"; do
        left=$((left - 1))
        [ $left -gt 0 ] || die "no $2"
        usleep 10000
    done
}

# Without udev, only sysfs has the port's name
find_port() {
    for file in /mnt/sys/class/virtio-ports/*/name; do
        [ -f "$file" ] && read -r name <"$file" && [ "$name" = tare ] || continue
        port=${file%/name}
        port=/dev/${port##*/}
        return 0
    done
    return 1
}

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
read -r words </proc/cmdline
while read -r module; do
    case $module in
    xen*) [ -e /sys/hypervisor/type ] || continue ;;
    virtio_balloon*) case " $words " in *" tare.balloon "*) ;; *) continue ;; esac ;;
    esac
    insmod "/modules/$module" 2>/dev/null
done </modules.list

entry=agent scratch='' address='' port='' root=/dev/vda
for word in $words; do
    case $word in
    tare.entry=*) entry=${word#*=} ;;
    tare.scratch=*) scratch=${word#*=} ;;
    tare.address=*) address=${word#*=} ;;
    tare.channel=*) port=${word#*=} ;;
    tare.root=*) root=${word#*=} ;;
    esac
done

await "[ -b $root ]" "$root"
mount -t ext4 -o noatime "$root" /mnt || die "cannot mount $root"
mount --move /dev /mnt/dev
mount --move /sys /mnt/sys
mount --move /proc /mnt/proc
hostname -F /mnt/etc/hostname
mount -t tmpfs -o mode=755 run /mnt/run
mount -t tmpfs -o mode=1777 tmp /mnt/tmp
mkdir -p /mnt/run/tare /mnt/dev/pts /mnt/dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /mnt/dev/pts
mount -t tmpfs -o mode=1777 shm /mnt/dev/shm

ip link set lo up
if [ -n "$address" ]; then
    await '[ -e /mnt/sys/class/net/eth0 ]' eth0
    ip address add "${address%,*}" dev eth0
    ip link set eth0 up
    case $address in
    *,*) ip route add default via "${address#*,}" ;;
    esac
fi
if [ -n "$scratch" ]; then
    await '[ -b "/mnt$scratch" ]' "$scratch"
    # nodiscard: discard would punch holes into the preallocated disk. No lazy initialization: it would write during a
    # measurement.
    chroot /mnt /sbin/mke2fs -q -F -t ext4 -b 4096 -i 65536 \
        -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$scratch" >/dev/console 2>&1 || die "cannot format $scratch"
    # The device has this name in the root
    mount -t devtmpfs dev /dev
    mount -t ext4 -o noatime "$scratch" /mnt/scratch || die "cannot mount $scratch"
    umount /dev
fi

if [ -n "$port" ]; then
    await "[ -c /mnt$port ]" "$port"
    # A terminal edits and echoes its input until it is set to raw mode. Xen's terminals reset the mode when closed.
    exec 3<>"/mnt$port"
    chroot /mnt /bin/stty -F "$port" raw -echo || die "no channel $port"
else
    await find_port 'virtio-serial port named tare'
fi
ln -s "$port" /mnt/run/tare/channel
case $entry in
beacon) set -- /opt/tare/beacon /run/tare/channel ready ;;
*) set -- /usr/bin/python3 -I /opt/tare/agent.py /run/tare/channel ;;
esac
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux LC_ALL=C.UTF-8 /bin/switch_root /mnt "$@"
