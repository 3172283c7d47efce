"""What a user sees: progress while a run goes on, and the tables of the other commands."""

import math
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from harness.model import Case, Skip
from harness.report import plain_text
from harness.run.plan import Plan

if TYPE_CHECKING:
    from rich.live import Live

    from harness.host.doctor import Finding
    from harness.host.facts import HostFacts
    from harness.run.preview import Expectation


class TerminalProgress:
    """Progress on stderr: one line with an ETA that rewrites itself on a terminal, else one line per case."""

    def __init__(self, stream: TextIO | None = None, live: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = plain_text.on_terminal(self._stream) if live is None else live
        self._line: Live | None = None
        self._blocks = 0

    def notify(self, text: str) -> None:
        """Print a line that stays."""
        indent = text[: len(text) - len(text.lstrip(" "))]
        self._print(indent + plain(text))

    def plan(self, plan: Plan) -> None:
        """Print what is about to run, and what is not."""
        self._blocks = len(plan.blocks)
        for line in plan_lines(plan, self._stream):
            self._print(line)

    def extended(self, blocks: int, why: Sequence[str]) -> None:
        """Print why the stopping rule changed the number of blocks."""
        self._blocks = blocks
        for line in why:
            self.notify(line)

    def case_started(self, case: Case, done: int, total: int, eta_seconds: float | None) -> None:
        """Show the case that begins; `done` of `total` have ended."""
        left = "" if eta_seconds is None else f", {duration(eta_seconds)} left"
        number = f"[{str(done + 1).rjust(len(str(total)))}/{total}]"
        text = f"{number} {case.workload} on {case.variant}, block {case.block + 1} of {self._blocks}{left}"
        if self._live:
            self._rewrite(plain(text))
        else:
            self._print(plain(text))

    def case_ended(self, case: Case, failed_reason: str | None) -> None:
        """Print the reason of a case that failed."""
        if failed_reason:
            self._print(f"failed: {case.workload} on {case.variant}, block {case.block + 1}: {plain(failed_reason)}")

    def close(self) -> None:
        """Remove the live line."""
        if self._line:
            self._line.stop()
            self._line = None

    def _rewrite(self, text: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        if self._line is None:
            console = Console(file=self._stream, force_terminal=True)
            # A thread that refreshes the line would run beside what is measured.
            self._line = Live(
                console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._line.start()
            # rich hides the cursor: a harness that is killed would leave it hidden.
            console.show_cursor()
        self._line.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)

    def _print(self, line: str) -> None:
        self.close()
        print(line, file=self._stream, flush=True)


def plain(text: str) -> str:
    """`text` as one line without control characters: a tool's output may hold escapes."""
    flat = " ".join(text.split())
    return "".join(character for character in flat if unicodedata.category(character) not in ("Cc", "Cf"))


def duration(seconds: float) -> str:
    """Seconds as text: 45 s, 12 min, 2 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], stream: TextIO | None = None) -> list[str]:
    """Left-aligned columns as lines for `stream` (by default stdout)."""
    return plain_text.columns(header, [[plain(cell) for cell in row] for row in rows], stream or sys.stdout)


def skip_lines(skips: Iterable[Skip]) -> list[str]:
    """What is skipped, why, and the fix below it."""
    lines = []
    for skip in skips:
        lines.append(f"  skipped: {plain(skip.what)}: {plain(skip.reason)}")
        if skip.fix:
            lines.append(f"    fix: {plain(skip.fix)}")
    return lines


def plan_lines(plan: Plan, stream: TextIO | None = None) -> list[str]:
    """A plan as lines for `stream` (stdout): blocks by workload and variants, what is skipped, and the estimate."""
    blocks: dict[str, int] = {}
    casts: dict[str, tuple[str, ...]] = {}
    for block in plan.blocks:
        blocks[block.workload] = blocks.get(block.workload, 0) + 1
        casts[block.workload] = tuple(sorted(block.variants))
    rows = [(name, str(blocks[name]), ", ".join(casts[name])) for name in sorted(blocks)]
    lines = table(("workload", "blocks", "variants"), rows, stream) if rows else ["nothing can run"]
    lines += skip_lines(plan.skips)
    return [*lines, f"{plan.cases} cases, seed {plan.seed}, about {duration(plan.estimate_seconds)}"]


def expectation_lines(expected: "Sequence[Expectation]") -> list[str]:
    """The precision and time that a plan can expect, from this host's earlier runs."""
    if not expected:
        return ["the time is a guess: this host has no usable earlier run of these workloads"]
    rows = [
        (
            one.workload,
            str(one.blocks),
            f"±{one.half_width:.1%}" if math.isfinite(one.half_width) else "none",
            duration(one.seconds),
            f"sd {one.deviation:.1%} over {one.runs} run{'s' if one.runs > 1 else ''}",
        )
        for one in expected
    ]
    header = ("by this host's noise", "blocks", "95 % interval", "takes", "from")
    return ["", *table(header, rows), f"together about {duration(sum(one.seconds for one in expected))}"]


def doctor_lines(facts: "HostFacts", findings: Sequence["Finding"], install: str, fit: bool) -> list[str]:
    """The output of `tare doctor`: the host, every finding with its fix, and the verdict."""
    lines = [host_line(facts), *finding_lines(findings), _fitness(findings, fit)]
    return [*lines, f"fix all that is missing: {install}"] if install else lines


def _fitness(findings: Sequence["Finding"], fit: bool) -> str:
    """Whether the host is fit, and the names of the notes: they affect how its figures are to be interpreted."""
    if not fit:
        return "this host is not fit to measure: see what is marked unfit"
    notes = list(dict.fromkeys(one.what for one in findings if one.severity == "note"))
    if not notes:
        return "this host is fit to measure"
    return f"this host is fit to measure, with {len(notes)} note{'s' if len(notes) > 1 else ''}: {', '.join(notes)}"


def host_line(facts: "HostFacts") -> str:
    """The host in one line."""
    on = "on bare metal" if facts.host_virtualized == "none" else f"itself virtualized ({facts.host_virtualized})"
    return plain(f"{facts.name}: {facts.cpu_model}, {facts.logical_cpus} CPUs, {facts.memory_mib} MiB, {on}")


def finding_lines(findings: Iterable["Finding"]) -> list[str]:
    """Findings with their fixes."""
    lines = []
    for one in findings:
        lines.append(f"  {one.severity:8}{plain(one.what)}{': ' if one.detail else ''}{plain(one.detail)}")
        if one.fix:
            lines.append(f"          fix: {plain(one.fix)}")
    return lines
