"""The environment of a run: daemons, root, rig and runtimes. Measures launch their instances in it (see run.setup)."""

import contextlib
import dataclasses
import itertools
import json
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness import images, paths
from harness.deadline import Deadline
from harness.definitions.declaration import declaration
from harness.durable import atomic_write
from harness.errors import ExitCode, TareError
from harness.host.cost import HostMeter
from harness.host.daemons import Daemons
from harness.model import Accelerator, Available, Case, Limits, NetworkPlace, Role, RootForms, Shape, Skip, Workload
from harness.record.journal import Journal
from harness.record.row import check_value
from harness.rig.cpus import Allotment, missing_memory
from harness.rig.network import Network
from harness.rig.scratch import Scratch, missing_space
from harness.runtimes.base import Copies, Entry, Instance, Place, Prepared, RawOutput
from harness.runtimes.catalog import Catalog, contained

NO_ROOT = RootForms(
    digest="none",
    directory=Path(),
    tar=Path(),
    disk=Path(),
    kernel=Path(),
    initramfs=Path(),
    kernel_release="",
)
"""The placeholder for the root if no chosen runtime needs one."""
ROOT = "root"
"""The name of the recipe of the run's own root."""
OPEN_SECONDS = 900.0
PREPARE_SECONDS = 300.0
FACTS_SECONDS = 30.0
Notify = Callable[[str], None]


@dataclass(kw_only=True)
class Environment:
    """The environment that measures use; see harness.measures.base.Environment."""

    run: str
    folder: Path
    journal: Journal
    allotment: Allotment
    catalog: Catalog
    daemons: Daemons
    proven: Mapping[str, Accelerator]
    root: RootForms
    network: Network | None
    no_network: Skip | None
    scratch: Scratch
    labels: Mapping[str, str]
    notes: tuple[str, ...] = ()
    workloads: Mapping[str, Workload] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    roots: dict[str, RootForms] = field(default_factory=dict)
    """The roots of other recipes than the run's own, by recipe name."""
    no_roots: dict[str, Skip] = field(default_factory=dict)
    prepared: dict[tuple[str, Role, Shape, str], Prepared] = field(default_factory=dict)
    subjects: dict[str, Prepared] = field(default_factory=dict)
    """By case, the prepared image of its subjects."""
    instances: dict[str, Instance] = field(default_factory=dict)
    serving: Counter[str] = field(default_factory=Counter)
    """By case, the number of its running subjects."""
    no_system: Available | None = None
    patience: float = 1.0
    """The factor on the time-outs of preparations on this host."""
    idle: float = 0.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    """Protects the network's addresses, because measures may launch instances in several threads."""

    @property
    def guests_on(self) -> str:
        """The value of `{accelerator}` in a suite: `kvm` if a guest has booted on KVM, else `tcg`."""
        return "kvm" if {Accelerator.KVM, Accelerator.KVM_NESTED} & set(self.proven.values()) else "tcg"

    @property
    def shape(self) -> Shape:
        """The shape of every variant."""
        return self.allotment.shape

    def availability(self) -> dict[str, Available]:
        """The availability of each variant; full-system variants are unavailable if their image could not be built."""
        found, variants = self.catalog.availability(), self.catalog.variants
        if self.no_system is None:
            return found
        return {
            name: self.no_system if one.ok and variants[name].form == "system" else one for name, one in found.items()
        }

    def make_system(self, notify: Notify) -> None:
        """Build the full system that some variants boot; if that fails, these variants become unavailable."""
        recipe, store = paths.data("images") / "system.toml", paths.state() / "images"
        try:
            self.root = images.with_system(self.root, recipe, store, Deadline.after(OPEN_SECONDS), notify)
        except TareError as error:
            notify(f"system: {error.brief}")
            reason = f"cannot build the full system: {error.brief}"
            self.no_system = Available(ok=False, reason=reason, fix=error.hint)

    def make_root(self, name: str, notify: Notify, *, system: bool) -> None:
        """Build the root of another recipe, and its full system if `system`; if that fails, its workloads are skipped.

        Raises TareError if the recipe is invalid.
        """
        recipe, store = paths.data("images") / f"{name}.toml", paths.state() / "images"
        try:
            root = images.ensure(recipe, store, Deadline.after(OPEN_SECONDS), notify)
            if system:
                above, deadline = recipe.with_name("system.toml"), Deadline.after(OPEN_SECONDS)
                root = images.with_system(root, above, store, deadline, notify, base=recipe)
            self.roots[name] = root
        except TareError as error:
            if error.code is ExitCode.BAD_INPUT:
                raise
            self.no_roots[name] = Skip(what=name, reason=f"recipe {name}: {error.brief}", fix=error.hint)

    def obstacle(self, workload: Workload) -> Skip | None:
        """Why a workload cannot run here; None if it can.

        Checks the network, the root of its recipe, memory for its concurrent instances, and disk space.
        """
        if workload.server and self.no_network:
            return dataclasses.replace(self.no_network, what=workload.name)
        if missing := self.no_roots.get(str(workload.parameters.get("recipe", ROOT))):
            return dataclasses.replace(missing, what=workload.name)
        declared = declaration(workload)
        together = declared.at_once(workload)
        if together > 1 and (crowded := missing_memory(together, self.shape.memory_mib, workload.name)):
            return crowded
        return missing_space(self.scratch.directory, declared.disk_mib(workload), workload.name)

    def versions(self) -> dict[str, str]:
        """The installed versions of the packages in the root's recipe."""
        if self.root is NO_ROOT:
            return {}
        found = images.inventory.read(self.root.tar.parent).packages
        named = images.recipe.read(paths.data("images") / "root.toml").packages
        return {name: found[name] for name in named if name in found}

    def rig_facts(self) -> dict[str, str]:
        """The facts of the scratch filesystem and of the network."""
        network = self.network.facts(Deadline.after(FACTS_SECONDS)) if self.network else {}
        return {
            **{f"scratch-{name}": value for name, value in self.scratch.facts.items()},
            **{f"network-{name}": value for name, value in network.items()},
        }

    def workload(self, name: str) -> Workload:
        """The definition of a workload with the suite's overrides applied."""
        return self.workloads[name]

    @contextlib.contextmanager
    def launch(
        self,
        case: Case,
        role: Role,
        entry: Entry,
        deadline: Deadline,
        *,
        shape: Shape | None = None,
        connected: bool = True,
        image: Prepared | None = None,
        ended: Callable[[], object] = lambda: None,
    ) -> Iterator[Instance]:
        """Launch a fresh instance for a role of the case; it and its directory are removed at the end.

        The intent and the end are journalled. `image` overrides the prepared image; `ended` is called last.
        """
        prepared = image or self._prepare(case.cast[role], role, shape)
        if role is Role.SUBJECT and image is None:
            self.subjects[case.id] = prepared
        workload = self.workloads[case.workload]
        name = f"tare-{self.run}-{next(self._numbers)}"
        directory = paths.instances() / secrets.token_hex(4)
        self.journal.append("intent", kind="instance", name=name, directory=str(directory), variant=case.cast[role])
        with ExitStack() as stack:
            stack.callback(ended)
            stack.enter_context(_instance_directory(directory))
            place = Place(
                name=name,
                directory=directory,
                entry=entry,
                shape=prepared.shape,
                network=self._network_place(name, role, stack) if connected else None,
                port=_port(workload, role, self.serving[case.id]),
                scratch_mib=0 if role is Role.PEER else workload.scratch_mib,
                scratch_directory=self.scratch.directory,
                lasting=role is Role.SUBJECT and declaration(workload).lasting,
            )
            runtime = self.catalog.runtimes[prepared.variant.runtime]
            with contained(runtime):
                instance = runtime.launch(prepared, place, self.labels, deadline)
                if not isinstance(instance, Instance):
                    raise TypeError(f"launch returned {instance!r:.60}, not an Instance")
                stack.enter_context(instance)
                check_value("kernel", instance.kernel)
            if role is Role.SUBJECT:
                self.instances[case.id] = instance
                self.serving[case.id] += 1
                stack.callback(self.serving.subtract, (case.id,))
            yield instance
        self.journal.append("done", kind="instance", name=name)

    def files(self, case: Case, deadline: Deadline) -> Iterable[Path]:
        """The files that a launch of the case's subject reads through the host's page cache."""
        prepared = self._image(case)
        return self.catalog.runtimes[prepared.variant.runtime].files(prepared, deadline)

    @contextlib.contextmanager
    def copies(self, case: Case, deadline: Deadline) -> Iterator[Copies | None]:
        """Yield the copier of the case's image, or None if the runtime has none; the copies are removed at the end."""
        folder = self.scratch.directory / f"copies-{secrets.token_hex(4)}"
        self.journal.append("intent", kind="copies", name=folder.name, directory=str(folder), variant=case.variant)
        folder.mkdir(mode=0o711)
        folder.chmod(0o711)  # libvirt's user must be able to reach the copies, regardless of the umask
        try:
            prepared = self.subjects[case.id] = self._image(case)
            yield self.catalog.runtimes[prepared.variant.runtime].copies(prepared, folder, self.labels, deadline)
        finally:
            shutil.rmtree(folder)
        self.journal.append("done", kind="copies", name=folder.name)

    def meter(self) -> HostMeter:
        """Start to measure the host cost."""
        return HostMeter(self.shape.cpus, self.idle)

    def record(self, case: Case, event: str, **data: object) -> None:
        """Append an event that is not a sample to the journal, e.g. facts or milestones."""
        self.journal.append(event, case=case.id, variant=case.variant, **data)

    def keep(self, case: Case, iteration: int, output: RawOutput, counters: Mapping[str, float]) -> None:
        """Store a job's raw output and the host's counters below raw/."""
        path = Path("raw", f"{case.id}_i{iteration:03d}.json")
        text = json.dumps({**asdict(output), "counters": dict(counters)}, indent=1)
        atomic_write(self.folder / path, text.encode())
        self.journal.append("raw", case=case.id, iteration=iteration, path=str(path))

    def _image(self, case: Case) -> Prepared:
        """The prepared image of the case's subjects, from the run's root or from that of the workload's recipe."""
        recipe = str(self.workloads[case.workload].parameters.get("recipe", ROOT))
        return self._prepare(case.variant, Role.SUBJECT, root=self.roots.get(recipe))

    def _prepare(self, name: str, role: Role, shape: Shape | None = None, root: RootForms | None = None) -> Prepared:
        shape, root = shape or (self._peer_shape() if role is Role.PEER else self.shape), root or self.root
        key = (name, role, shape, root.digest)
        if key not in self.prepared:
            variant = self.catalog.variants[name]
            within = Deadline.after(self.patience * PREPARE_SECONDS)
            runtime = self.catalog.runtimes[variant.runtime]
            with contained(runtime):
                prepared = runtime.prepare(variant, shape, root, within)
                if not isinstance(prepared, Prepared):
                    raise TypeError(f"prepare returned {prepared!r:.60}, not a Prepared")
                check_value("image", prepared.image)
            self.prepared[key] = prepared
        return self.prepared[key]

    def _peer_shape(self) -> Shape:
        return Shape(cpus=self.allotment.harness_cpus, memory_mib=self.shape.memory_mib)

    def _network_place(self, name: str, role: Role, stack: ExitStack) -> NetworkPlace | None:
        if self.network is None:
            return None
        if role is Role.PEER:
            return self.network.peer_place()
        stack.callback(self.network.release, name)
        with self._turn:
            return self.network.place(name)


def _port(workload: Workload, role: Role, before: int) -> int | None:
    """The port of the server in the role's instance; `before` subjects of the case are already running.

    Each subject gets its own port, because native instances share one address.
    """
    tenant = workload.aggressor if role is Role.AGGRESSOR else workload
    if tenant is None or tenant.server is None:
        return None
    return tenant.server.port + (before if role is Role.SUBJECT else 0)


@contextlib.contextmanager
def _instance_directory(directory: Path) -> Iterator[None]:
    """Create an instance's directory, mode 0711 for libvirt's user, and remove it at the end."""
    directory.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    directory.mkdir()
    directory.chmod(0o711)
    try:
        yield
    finally:
        shutil.rmtree(directory, ignore_errors=True)
