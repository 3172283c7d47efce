"""Commands about the host: doctor, image and clean."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from harness import paths
from harness.cli.commands.output import print_lines, show
from harness.errors import ExitCode, bad_input

if TYPE_CHECKING:
    from harness.cli.terminal import TerminalProgress

IMAGE_SECONDS = 3600.0
CLEAN_SECONDS = 300.0
DOCTOR_SECONDS = 30.0


def doctor(arguments: argparse.Namespace) -> int:
    """Print the facts and findings about this host. Returns HOST_NOT_FIT if it is not fit."""
    from harness.cli.terminal import doctor_lines
    from harness.deadline import Deadline
    from harness.host.doctor import examine, fit, install_line
    from harness.host.facts import gather

    facts = gather()
    findings = examine(facts, Deadline.after(DOCTOR_SECONDS))
    data = {
        "fit": fit(findings),
        "install": install_line(findings),
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "host": dataclasses.asdict(facts),
    }
    show(arguments, data, doctor_lines(facts, findings, install_line(findings), fit(findings)))
    return ExitCode.FINE if fit(findings) else ExitCode.HOST_NOT_FIT


def image(arguments: argparse.Namespace) -> int:
    """Build, export or import the root."""
    from harness import images
    from harness.cli.terminal import TerminalProgress
    from harness.deadline import Deadline

    if (arguments.file is None) != (arguments.action == "build"):
        problem = "takes no FILE" if arguments.action == "build" else "needs a FILE"
        raise bad_input(f"image {arguments.action}", problem, "tare image --help")
    notify, deadline = TerminalProgress().notify, Deadline.after(IMAGE_SECONDS)
    recipe, store = paths.data("images") / "root.toml", paths.state() / "images"
    if arguments.action == "import":
        root = images.import_root(arguments.file, store, recipe, deadline, notify)
    else:
        root = images.ensure(recipe, store, deadline, notify, rebuild=arguments.action == "build")
    if arguments.action == "export":
        images.export_root(root, arguments.file, deadline)
    print(f"root {root.digest} in {root.tar.parent}")
    return ExitCode.FINE


def clean(arguments: argparse.Namespace) -> int:
    """Remove the leftovers of killed runs. Returns CASE_FAILED if a leftover cannot be removed."""
    from harness.cli.terminal import TerminalProgress, skip_lines
    from harness.deadline import Deadline
    from harness.rig.lock import host_lock
    from harness.run import clean as cleaning

    deadline = Deadline.after(CLEAN_SECONDS)
    with host_lock(paths.locks(), "clean"):
        done = cleaning.clean_host(deadline, TerminalProgress().notify)
        print_lines(f"removed {one.kind} {one.name}" for one in done.removed)
        print_lines(skip_lines(done.stuck))
        if arguments.images:
            print_lines(f"removed {folder}" for folder in cleaning.remove_images())
        if arguments.packages:
            print_lines(f"removed package {name}" for name in cleaning.remove_packages(deadline))
    print(f"{len(done.removed)} leftovers removed, {len(done.stuck)} failed")
    return ExitCode.CASE_FAILED if done.stuck else ExitCode.FINE


def show_host(progress: "TerminalProgress") -> None:
    """Print the host and its `unfit` and `missing` findings before a run."""
    from harness.cli.terminal import finding_lines, host_line
    from harness.deadline import Deadline
    from harness.host.doctor import examine
    from harness.host.facts import gather

    facts = gather()
    progress.notify(host_line(facts))
    troubles = [one for one in examine(facts, Deadline.after(DOCTOR_SECONDS)) if one.severity in ("unfit", "missing")]
    for line in finding_lines(troubles):
        progress.notify(line)
