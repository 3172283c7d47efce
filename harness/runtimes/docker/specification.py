"""The Engine API's description of a variant's container, and its network endpoint."""

from collections.abc import Mapping
from typing import Any

from harness.errors import TareError
from harness.model import NetworkPlace, Variant
from harness.runtimes.base import ENTRY_ARGV, ENVIRONMENT, Endpoint, Place, Prepared

MIB = 2**20
PROTOCOLS = ("tcp", "udp")
OPEN_FILES = 4096
CONFINEMENT = {"ReadonlyRootfs": True, "CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]}
LOG = {"Type": "json-file", "Config": {"max-size": "1m"}}

BRIDGE, HOST, NAT = "bridge", "host", "nat"
OVERLAY, VOLUME, TMPFS = "overlay", "volume", "tmpfs"


def _variant(flavour: str, network: str, scratch: str, summary: str) -> Variant:
    options = {"network": network, "scratch": scratch}
    return Variant(name=f"docker/{flavour}", runtime="docker", summary=summary, options=options)


HARDENED_USER = "65533:65533"
"""A user that owns nothing on the host; 65534 is `nobody`, to which all unknown users are mapped."""

VARIANTS = (
    _variant("bridge", BRIDGE, OVERLAY, "container on tare's bridge network; else as docker run starts it"),
    _variant("host", HOST, OVERLAY, "container in the host's network namespace"),
    _variant("nat", NAT, OVERLAY, "container on a bridge network, reached by a published port"),
    _variant("overlay", BRIDGE, OVERLAY, "container whose scratch space is its writable layer"),
    _variant("volume", BRIDGE, VOLUME, "container whose scratch space is a fresh local volume"),
    Variant(
        name="docker/hardened",
        runtime="docker",
        summary="container without Linux capabilities, with no-new-privileges, its own user and a read-only root",
        options={"network": BRIDGE, "scratch": TMPFS, "confined": "yes"},
    ),
)


def container(prepared: Prepared, place: Place, labels: Mapping[str, str]) -> dict[str, Any]:
    """The body of the Engine API's `POST /containers/create`.

    Seccomp profile, capabilities and cgroup parent are the daemon's defaults. A confined container keeps the profile
    and drops all capabilities. No CPU quota.
    """
    options = prepared.variant.options
    published = _published(options["network"], place)
    confined = options.get("confined") == "yes"
    return {
        "Image": prepared.image,
        "Cmd": list(ENTRY_ARGV[place.entry]),
        "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
        "WorkingDir": "/tmp",
        "Labels": dict(labels),
        # A binding of a port that is not exposed is silently ignored.
        "ExposedPorts": {port: {} for port in published},
        "HostConfig": {
            "CpusetCpus": place.shape.cpu_list,
            "Memory": place.shape.memory_mib * MIB,
            # Equal to the memory limit means no swap.
            "MemorySwap": place.shape.memory_mib * MIB,
            "PidsLimit": place.shape.pids,
            "Ulimits": [{"Name": "nofile", "Soft": OPEN_FILES, "Hard": OPEN_FILES}],
            "Init": False,
            "LogConfig": LOG,
            # Docker mounts a tmpfs noexec by default, which no other runtime does.
            "Tmpfs": {"/tmp": "rw,exec,mode=1777", **_scratch_in_memory(options["scratch"], place)},
            "Mounts": _mounts(options["scratch"], place, labels),
            "NetworkMode": network_mode(options["network"], place.network),
            "PortBindings": published,
            **(CONFINEMENT if confined else {}),
        },
        **({"User": HARDENED_USER} if confined else {}),
        **_attached(options["network"], place.network),
    }


def _scratch_in_memory(scratch: str, place: Place) -> dict[str, str]:
    """A tmpfs for /scratch: a read-only root has no writable layer, and a fresh volume belongs to root."""
    if scratch != TMPFS or place.scratch_mib == 0:
        return {}
    user, group = HARDENED_USER.split(":")
    return {"/scratch": f"rw,uid={user},gid={group},size={place.scratch_mib}m"}


def network_mode(network: str, place: NetworkPlace | None) -> str:
    """Docker's name of the network; a container without a place on the rig's bridge gets loopback only."""
    if network == HOST:
        return "host"
    return place.docker_network if place and place.docker_network else "none"


def endpoint(network: str, place: Place) -> Endpoint:
    """Where the peer reaches the container's port. Raises TareError without a network place."""
    if place.network is None or place.port is None or network_mode(network, place.network) == "none":
        raise TareError(f"{place.name} has no network place")
    if network == HOST:
        return Endpoint(address=place.network.host_address, port=place.port, bind=place.network.host_address)
    address = place.network.nat_address if network == NAT else place.network.address
    return Endpoint(address=address, port=place.port, bind="0.0.0.0")


def _mounts(scratch: str, place: Place, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    # Docker refuses a mount without a source; an older-style bind would create the source.
    mounts: list[dict[str, Any]] = [{"Type": "bind", "Source": str(place.directory), "Target": "/run/tare"}]
    if scratch == VOLUME and place.scratch_mib > 0:
        # Without a source the volume is anonymous: it is created and removed with the container.
        volume = {"NoCopy": True, "Labels": dict(labels)}
        source = {"Source": volume_name(place)} if place.lasting else {}
        mounts.append({"Type": "volume", "Target": "/scratch", "VolumeOptions": volume, **source})
    return mounts


def volume_name(place: Place) -> str:
    """The name of a lasting container's volume; a container that replaces it uses the same one."""
    return f"{place.name}-scratch"


def _published(network: str, place: Place) -> dict[str, Any]:
    if network != NAT or place.network is None or place.port is None:
        return {}
    binding = [{"HostIp": place.network.nat_address, "HostPort": str(place.port)}]
    return {f"{place.port}/{protocol}": binding for protocol in PROTOCOLS}


def _attached(network: str, place: NetworkPlace | None) -> dict[str, Any]:
    mode = network_mode(network, place)
    if place is None or mode in ("host", "none"):
        return {}
    return {"NetworkingConfig": {"EndpointsConfig": {mode: {"IPAMConfig": {"IPv4Address": place.address}}}}}
