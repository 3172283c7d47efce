#!/bin/sh
# Sets up the view of the file system for one private daemon and starts it. Runs in its own mount namespace, so that no
# mount affects the host and all mounts disappear with the last process.
#
# usage: enclosure.sh SCRATCH same-sys|own-sys same-dev|kvm-hidden|kvm-offered [SOURCE TARGET]... -- COMMAND...
set -eu
# mount -n everywhere: the table of mounts in /run belongs to the host.
scratch=$1 sys=$2 devices=$3
shift 3

mount -n -t tmpfs -o mode=0755 tare "$scratch"

# /sys/class/net shows the network namespace in which sysfs was mounted, so a private namespace needs its own sysfs. The
# mounts below the host's sysfs (control groups, AppArmor) are moved to the new one.
if [ "$sys" = own-sys ]; then
    for below in fs/cgroup kernel/security; do
        if mountpoint -q "/sys/$below"; then
            mkdir -p "$scratch/$below"
            mount -n --rbind "/sys/$below" "$scratch/$below"
        fi
    done
    mount -n -t sysfs sysfs /sys
    for below in fs/cgroup kernel/security; do
        if mountpoint -q "$scratch/$below"; then
            mount -n --move "$scratch/$below" "/sys/$below"
        fi
    done
fi

# A complete /dev instead of a mount over /dev/kvm: libvirt moves every mount below /dev when it creates a guest's /dev.
# It cannot move a file, nor a directory that is mounted twice.
if [ "$devices" != same-dev ]; then
    mkdir "$scratch/dev"
    mount -n -t tmpfs -o mode=0755 tare "$scratch/dev"
    cp -ax /dev/. "$scratch/dev"
    # The host's macvtaps: each network namespace has its own numbers, so a private macvtap may have the same number.
    rm -f "$scratch"/dev/tap[0-9]*
    if [ "$devices" = kvm-hidden ]; then
        rm -f "$scratch/dev/kvm"
    elif [ -e "$scratch/dev/kvm" ]; then
        chmod 0666 "$scratch/dev/kvm"
    fi
    for below in pts shm mqueue hugepages; do
        if mountpoint -q "/dev/$below"; then
            mount -n --bind "/dev/$below" "$scratch/dev/$below"
        fi
    done
    umount -n --lazy --recursive /dev
    mount -n --move "$scratch/dev" /dev
fi

while [ "$1" != -- ]; do
    mount -n --bind "$1" "$2"
    shift 2
done
shift
exec "$@"
