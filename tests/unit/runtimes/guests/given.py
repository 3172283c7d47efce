"""What the tests of guests give to every runtime alike: a network, a root and a shape, of files that are not there."""

from pathlib import Path

from harness.model import NetworkPlace, RootForms, Shape

NETWORK = NetworkPlace(
    bridge="tare0",
    docker_network="tare0",
    netns="ns1",
    host_address="10.1.2.1",
    nat_address="10.1.3.1",
    address="10.1.2.9",
    prefix=24,
)
ROOT = RootForms(
    digest="sha256:0",
    directory=Path("/r"),
    tar=Path("/r.tar"),
    disk=Path("/r.raw"),
    kernel=Path("/k"),
    initramfs=Path("/i"),
    kernel_release="6.1",
)
SHAPE = Shape(cpus=(1, 3), memory_mib=512)
