"""What instances start from and where they stand."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlace:
    """An instance's place on the rig's bridge: what it needs to get an address there.

    `docker_network` is the name under which Docker has adopted the bridge ("" without Docker). `netns` is the network
    namespace to enter ("" for the one in which bridge and daemons live). `host_address` is the bridge's own address,
    `nat_address` the host's end of the routed leg, `address` this instance's own with `prefix` bits.
    """

    bridge: str
    docker_network: str
    netns: str
    host_address: str
    nat_address: str
    address: str
    prefix: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """Whether a variant can run here; if not, why and what would change that."""

    ok: bool
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something that carries our label and no live run owns; `kind` names what, `name` which.

    One that is `beside` may be removed while others of its kind are.
    """

    kind: str
    name: str
    run: str = ""
    beside: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemForm:
    """The root as a full system: a raw disk with partitions, boot loader, kernel and init; `digest` is the disk's."""

    digest: str
    disk: Path
    kernel_release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RootForms:
    """The one root in each runtime's form, with its digest.

    `disk` is a raw ext4 base; `kernel` and `initramfs` boot it. `system` is None until a variant that boots one asks
    for it.
    """

    digest: str
    directory: Path
    tar: Path
    disk: Path
    kernel: Path
    initramfs: Path
    kernel_release: str
    system: SystemForm | None = None
