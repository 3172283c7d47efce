#!/bin/sh
# The view of the file system in which one daemon of ours runs. It is started inside a mount namespace of its own, so that
# nothing here reaches the host and everything goes with the last process.
#
# usage: enclosure.sh SCRATCH same-sys|own-sys same-dev|kvm-hidden|kvm-offered [SOURCE TARGET]... -- COMMAND...
set -eu
# Always -n: the table of user-space mounts in /run is the host's.
scratch=$1 sys=$2 devices=$3
shift 3

mount -n -t tmpfs -o mode=0755 tare "$scratch"

# /sys/class/net shows the network namespace that sysfs was mounted in, so that ours needs a sysfs of its own; what is
# mounted below the host's (control groups, AppArmor) is carried over.
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

# A whole /dev and not just a mount over /dev/kvm: libvirt moves every mount below /dev when it makes a guest's own /dev,
# and can move neither a file nor a directory that is mounted twice.
if [ "$devices" != same-dev ]; then
    mkdir "$scratch/dev"
    mount -n -t tmpfs -o mode=0755 tare "$scratch/dev"
    cp -ax /dev/. "$scratch/dev"
    # Of the host's macvtaps: one of ours may have the same number, which each network namespace counts for itself.
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
