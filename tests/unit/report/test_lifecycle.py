"""The lifecycle chapter on a made-up run: what survived, what cannot be done, emulated guests apart."""

from pathlib import Path
from typing import Any

from harness.report import stored_run as reading
from harness.report.chapters.lifecycle import Lifecycle
from tests.unit.report import synthetic

TIMES = {"native": 0.02, "docker/bridge": 0.3, "libvirt/tcg": 2.0}


def rows() -> list[dict[str, Any]]:
    found = []
    for block in (1, 2, 3):
        for position, (variant, seconds) in enumerate(TIMES.items()):
            case = synthetic.row("lifecycle.stop", variant, block, position)
            for metric, factor in (("start", 1.0), ("kill", 0.1), ("downtime", 2.0)):
                value = seconds * factor * (1 + block / 50)
                found.append(case | synthetic.measured(metric, "s", "lower", value, 1, "measured"))
    return found


def observed() -> list[dict[str, Any]]:
    how = {"stoppable": "docker stop"}
    survival = [
        {
            "workload": "lifecycle.persist", "variant": variant, "block": block, "what": "survival", "how": how,
            "steps": {"made anew": {"file: container layer": kept and block != 2, "file: volume": True}},
        }
        for variant, kept in (("docker/bridge", False), ("libvirt/tcg", True))
        for block in (1, 2, 3)
    ]  # fmt: skip
    lacking = [
        {"workload": "lifecycle.save", "variant": name, "what": "unsupported", "reason": "no CRIU"} for name in TIMES
    ]
    return [*survival, *lacking, {"workload": "lifecycle.save", "steps": "rubbish", "how": 3}]


def loaded(folder: Path) -> reading.Stored:
    return reading.load(synthetic.write(folder, rows(), synthetic.manifest() | {"observed": observed()}))


def test_what_survived_in_every_iteration_is_told_from_what_did_in_some(tmp_path: Path) -> None:
    survival, times = Lifecycle().tables(loaded(tmp_path))
    plain, emulated = survival.groups
    assert not plain.emulated and emulated.emulated
    (container,) = plain.sections[0].rows
    assert container == ("made anew", "docker/bridge", "file: volume", "file: container layer", "3")
    (guest,) = emulated.sections[0].rows
    assert guest[2:] == ("file: volume", "file: container layer (2 of 3)", "3")
    assert {row[1] for row in times.groups[0].sections[0].rows} == {"native", "docker/bridge"}
    assert {row[1] for row in times.groups[1].sections[0].rows} == {"libvirt/tcg"}


def test_the_notes_say_what_did_it_and_what_cannot_be_done(tmp_path: Path) -> None:
    notes = list(Lifecycle().notes(loaded(tmp_path)))
    assert "lifecycle.persist uses: docker/bridge, libvirt/tcg: docker stop." in notes
    assert "lifecycle.save cannot be measured on docker/bridge, libvirt/tcg, native: no CRIU." in notes


def test_emulated_guests_have_an_axis_of_their_own(tmp_path: Path) -> None:
    (drawing,) = Lifecycle().drawings(loaded(tmp_path))
    assert drawing.topic == "lifecycle.stop"
    assert len(drawing.figure.axes) == 2
    texts = {one.get_text() for one in drawing.figure.texts}
    assert any(text.startswith("emulated (tcg)") for text in texts)


def test_a_run_without_any_of_it_has_nothing_to_show(tmp_path: Path) -> None:
    empty = reading.load(synthetic.write(tmp_path, synthetic.samples(), None))
    assert not list(Lifecycle().drawings(empty)) and not list(Lifecycle().notes(empty))
    assert all(table.empty for table in Lifecycle().tables(empty))
