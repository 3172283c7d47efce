"""What the image measure does with an image: only the steps that a workload's metrics name, on copies that go."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.definitions.workloads import load_workload
from harness.errors import TareError
from harness.measures.image import ImageMeasure
from harness.model import Accelerator, Case, Role, Variant
from harness.paths import data
from harness.process import run
from harness.run.environment import NO_ROOT
from harness.runtimes.archive import TreeCopies, allocated
from harness.runtimes.base import Copies, Prepared
from harness.runtimes.fake.instance import FakeInstance
from tests.environment import ONE_CPU, Asked, BaseEnvironment

VARIANT = Variant(name="native", runtime="native", summary="")
KIB = 2**10


class Weighed(BaseEnvironment):
    """A environment whose subjects start from a directory."""

    def __init__(self, folder: Path, *, copies: bool = True, broken: bool = False) -> None:
        super().__init__()
        self.folder, self.can, self.broken = folder / "copies", copies, broken
        root = folder / "root"
        root.mkdir()
        (root / "file").write_bytes(b"\0" * 400 * KIB)
        run(["tar", "-c", "-f", folder / "root.tar", "-C", root, "."], Deadline.after(10))
        forms = replace(NO_ROOT, directory=root, tar=folder / "root.tar")
        self.image = Prepared(variant=VARIANT, shape=ONE_CPU, root=forms, image="x", accelerator=Accelerator.NONE)
        self.started: list[Path] = []
        self.left: list[Path] = []

    def files(self, case: Case, deadline: Deadline) -> Iterable[Path]:
        return [self.image.root.directory]

    @contextmanager
    def copies(self, case: Case, deadline: Deadline) -> Iterator[Copies | None]:
        self.folder.mkdir()
        yield TreeCopies(self.image, self.folder) if self.can else None
        self.left = list(self.folder.iterdir())
        self.folder.rmdir()

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[FakeInstance]:
        if self.broken:
            raise TareError("it cannot be launched")
        assert asked.image is not None
        root = asked.image.root.directory
        assert (root / "file").stat().st_size == 400 * KIB
        self.started.append(root)
        yield FakeInstance(self.nowhere(asked), 1.0)


@pytest.fixture(autouse=True)
def _no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.measures.image.inventory.read", lambda _: type("Made", (), {"packages": {"a": "1"}}))


def measured(environment: Weighed, workload: str) -> dict[str, float | None]:
    case = Case(block=0, position=0, attempt=1, workload=workload, cast={Role.SUBJECT: "native"})
    values = {one.metric: one.value for one in ImageMeasure().measure(case, environment, Deadline.after(60))}
    assert all(fields["what"] == "root" for _, fields in environment.events) and environment.kept == []
    return values


def test_a_package_is_made_carried_and_started_from(tmp_path: Path) -> None:
    environment = Weighed(tmp_path)
    found = measured(environment, "image.size")
    assert found.keys() == {"disk", "transfer", "build", "export", "import", "first-start", "deploy"}
    assert found["disk"] == allocated([tmp_path / "root"]) >= 400 * KIB
    assert 0 < (found["transfer"] or 0) < 40 * KIB, "zeros compress"
    assert found["deploy"] == pytest.approx((found["import"] or 0) + (found["first-start"] or 0))
    assert environment.started == [environment.folder / "tree/root"]
    assert environment.left == []


def test_clones_are_made_only_where_asked_for_and_native_has_no_linked_one(tmp_path: Path) -> None:
    environment = Weighed(tmp_path)
    assert measured(environment, "image.clone").keys() == {"full", "full-disk"}
    assert measured(environment, "image.growth") == {}
    assert (environment.started, environment.left) == ([], [])


def test_without_copies_an_image_is_weighed_all_the_same(tmp_path: Path) -> None:
    assert measured(Weighed(tmp_path, copies=False), "image.size").keys() == {"disk"}


@pytest.mark.parametrize("recipe", ["slimm", "/etc/passwd", "system"])
def test_a_recipe_that_there_is_not_is_refused(tmp_path: Path, recipe: str) -> None:
    text = (data("workloads") / "image.size-slim.toml").read_text()
    (tmp_path / "image.size-slim.toml").write_text(text.replace('recipe = "slim"', f'recipe = "{recipe}"'))
    with pytest.raises(TareError, match=f"'{recipe}' is not a recipe"):
        load_workload(tmp_path / "image.size-slim.toml")


def test_a_copy_that_does_not_start_fails_the_case(tmp_path: Path) -> None:
    with pytest.raises(TareError, match="cannot be launched"):
        measured(Weighed(tmp_path, broken=True), "image.size")
    assert not (tmp_path / "copies/tree").exists()
