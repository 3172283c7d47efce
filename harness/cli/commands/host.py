"""Commands about the host: what it is and whether it is fit, its root, and what is left on it."""

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
    """What this host is and whether it is fit; HOST_NOT_FIT when it is not."""
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
    """Build, export or import the one root."""
    from harness import images
    from harness.cli.terminal import TerminalProgress
    from harness.deadline import Deadline

    if (arguments.file is None) != (arguments.action == "build"):
        raise bad_input(f"image {arguments.action}", "FILE belongs to export and import", "tare image --help")
    say, deadline = TerminalProgress().say, Deadline.after(IMAGE_SECONDS)
    recipe, store = paths.data("images") / "root.toml", paths.state() / "images"
    if arguments.action == "import":
        root = images.import_root(arguments.file, store, recipe, deadline, say)
    else:
        root = images.ensure(recipe, store, deadline, say, rebuild=arguments.action == "build")
    if arguments.action == "export":
        images.export_root(root, arguments.file, deadline)
    print(f"root {root.digest} in {root.tar.parent}")
    return ExitCode.FINE


def clean(arguments: argparse.Namespace) -> int:
    """Remove what interrupted runs left on this host; CASE_FAILED when something of ours stays."""
    from harness.cli.terminal import TerminalProgress, skip_lines
    from harness.deadline import Deadline
    from harness.rig.lock import host_lock
    from harness.run import clean as cleaning

    deadline = Deadline.after(CLEAN_SECONDS)
    with host_lock(paths.locks(), "clean"):
        done = cleaning.clean_host(deadline, TerminalProgress().say)
        print_lines(f"removed {one.kind} {one.name}" for one in done.removed)
        print_lines(skip_lines(done.stuck))
        if arguments.images:
            print_lines(f"removed {folder}" for folder in cleaning.remove_images())
        if arguments.packages:
            print_lines(f"removed package {name}" for name in cleaning.remove_packages(deadline))
    print(f"{len(done.removed)} leftovers removed, {len(done.stuck)} could not be")
    return ExitCode.CASE_FAILED if done.stuck else ExitCode.FINE


def say_host(progress: "TerminalProgress") -> None:
    """Before a run: what this host is, and what makes it unfit or is missing."""
    from harness.cli.terminal import finding_lines, host_line
    from harness.deadline import Deadline
    from harness.host.doctor import examine
    from harness.host.facts import gather

    facts = gather()
    progress.say(host_line(facts))
    troubles = [one for one in examine(facts, Deadline.after(DOCTOR_SECONDS)) if one.severity in ("unfit", "missing")]
    for line in finding_lines(troubles):
        progress.say(line)
