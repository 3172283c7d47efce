#!/bin/sh
# Sets up the lab as a host under Xen, like the init system and udev of a real host.
set -eu
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null || true
for module in xen-gntalloc xen-privcmd xen-netback tun bridge br_netfilter veth overlay loop nf_tables; do
    modprobe $module || echo "lab: no module $module" >&2
done
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
mount --bind /payload/images /var/lib/tare/images
/etc/init.d/xen start
# QEMU does not emulate vme, and Xen hides sep on AMD processors: libvirt 9 has no CPU model for that and does not start.
sed -i /vme/d /usr/share/libvirt/cpu_map/x86_486.xml
printf 'auth_unix_rw = "none"\nunix_sock_rw_perms = "0700"\n' >/etc/libvirt/libvirtd.conf
libvirtd --daemon
left=60
until virsh -c xen:///system version; do
    left=$((left - 1))
    [ $left -gt 0 ] || exit 1
    sleep 1
done
