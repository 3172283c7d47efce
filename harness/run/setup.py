"""Set up the environment of a run (watchdog, root, daemons, clean-up, network, scratch); undo it in reverse order."""

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from harness import images, paths
from harness.deadline import Deadline
from harness.durable import atomic_write
from harness.errors import TareError
from harness.host.daemons import Daemons, Kvm, open_daemons
from harness.host.tracing import TracerSweep
from harness.model import Accelerator, RootForms, Skip
from harness.process import have
from harness.record.journal import Journal
from harness.rig.cpus import Allotment, pin_harness
from harness.rig.leftovers import RigSweep
from harness.rig.network import Network, network_missing, open_network
from harness.rig.scratch import open_scratch
from harness.run.clean import clean
from harness.run.environment import NO_ROOT, OPEN_SECONDS, Environment, Notify
from harness.run.watchdog import guarded
from harness.runtimes.catalog import Catalog
from harness.runtimes.guests import accel

NO_NETWORK = Skip(what="network", reason="none of the chosen runtimes can use the bridge")


@contextlib.contextmanager
def open_environment(
    run: str, folder: Path, journal: Journal, catalog: Catalog, allotment: Allotment, notify: Notify
) -> Iterator[Environment]:
    """Set up what the catalog's runtimes need, and undo it in reverse order at the end.

    Raises TareError if a requirement of all variants is missing; a missing daemon only makes its runtime unavailable.
    """
    deadline = Deadline.after(OPEN_SECONDS)
    needs_root = any(runtime.needs_root for runtime in catalog.runtimes.values())
    labels = make_labels(run)
    with ExitStack() as stack:
        if needs_root:
            stack.enter_context(guarded(run, folder))
        recipe, store = paths.data("images") / "root.toml", paths.state() / "images"
        root = images.ensure(recipe, store, deadline, notify) if needs_root else NO_ROOT
        root, kernel = _host_kernel(root, store, deadline) if needs_root else (root, "")
        proven = catalog.prove(root, deadline)
        kvm: Kvm = "hidden" if Accelerator.TCG in proven.values() else "offered"
        wanted = {runtime.daemon for runtime in catalog.runtimes.values() if runtime.daemon}
        daemons = stack.enter_context(open_daemons(paths.runtime(), paths.state(), wanted, deadline, notify, kvm=kvm))
        for name, runtime in catalog.runtimes.items():
            if address := daemons.address(runtime.daemon):
                catalog.connect(name, address)
        stack.callback(catalog.close)
        space = paths.state() / "scratch"
        network: Network | None = None
        no_network: Skip | None = NO_NETWORK
        if needs_root:
            _sweep(catalog, RigSweep(netns=daemons.netns, docker_url=daemons.docker_url, scratch=space), deadline)
            network, no_network = _open_network(stack, daemons, run, labels, deadline)
        scratch = stack.enter_context(open_scratch(space, run, beside={"docker": paths.state(), "images": store}))
        stack.enter_context(pin_harness(allotment.harness_cpus))
        yield Environment(
            run=run,
            folder=folder,
            journal=journal,
            allotment=allotment,
            catalog=catalog,
            daemons=daemons,
            proven=proven,
            root=root,
            network=network,
            no_network=no_network,
            scratch=scratch,
            labels=labels,
            notes=(kernel,) if kernel else (),
        )


def _host_kernel(root: RootForms, store: Path, deadline: Deadline) -> tuple[RootForms, str]:
    """The root with the kernel for guests, and a note about it: the host's kernel if it boots in a guest."""
    wanted = images.recipe.read(paths.data("images") / "root.toml")
    own, note = images.adopt(root, wanted.guest, wanted.epoch, store)
    if own is root or have(accel.EMULATOR):
        return root, note
    if not accel.boots(own.kernel, own.initramfs, deadline):
        reason = "the host's kernel does not boot in a guest here"
        return root, f"guests boot the distribution's kernel {root.kernel_release}: {reason}"
    return own, note


def _open_network(
    stack: ExitStack, daemons: Daemons, run: str, labels: Mapping[str, str], deadline: Deadline
) -> tuple[Network | None, Skip | None]:
    """Create the bridge and the peer, or return the skip of all network workloads."""
    if missing := network_missing():
        return None, missing
    try:
        opening = open_network(daemons.netns, run, daemons.docker_url, deadline, labels=labels)
        return stack.enter_context(opening), None
    except TareError as error:
        return None, Skip(what="network", reason=error.brief, fix=error.hint)


def _sweep(catalog: Catalog, rig: RigSweep, deadline: Deadline) -> None:
    """Remove the leftovers of killed runs. Under the host lock, nothing with tare's label belongs to a live run.

    Raises TareError if a leftover cannot be removed.
    """
    shutil.rmtree(paths.instances(), ignore_errors=True)
    if stuck := clean([*catalog.runtimes.items(), ("rig", rig), ("tracer", TracerSweep())], deadline).stuck:
        details = "\n".join(f"{one.what}: {one.reason}" for one in stuck)
        fix = stuck[0].fix or "tare clean"
        raise TareError("cannot remove the leftovers of a killed run", details=details, hint=fix)


def make_labels(run: str) -> dict[str, str]:
    """The labels of everything that a run creates: the installation, the run and the boot id."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return {"tare.install": install_id(), "tare.run": run, "tare.boot": boot}


def install_id() -> str:
    """The id of this installation of tare on this host, created at the first call."""
    path = paths.state() / "install-id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, uuid.uuid4().hex[:12].encode())
    return path.read_text().strip()
