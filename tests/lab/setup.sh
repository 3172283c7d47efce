#!/bin/sh
# Sets up the lab as a host, like the init system and udev of a real host. usage: setup.sh [PARAMETER=VALUE of kvm_amd]…
set -eu
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null || true
for folder in hugepages mqueue; do mkdir -p /dev/$folder; done
mount -t hugetlbfs hugetlbfs /dev/hugepages
mount -t mqueue mqueue /dev/mqueue
modprobe kvm_amd "$@"
for module in tun bridge br_netfilter veth overlay vhost_net loop nf_tables; do
    modprobe $module || echo "lab: no module $module" >&2
done
chgrp kvm /dev/kvm
chmod 660 /dev/kvm
cat /proc/sys/kernel/random/uuid | tr -d - >/etc/machine-id
mount --bind /payload/images /var/lib/tare/images
