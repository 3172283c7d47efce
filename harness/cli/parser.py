"""The command line of tare. It imports no heavy modules, so that `tare --help` is fast."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from harness import __version__
from harness.cli import commands
from harness.errors import ExitCode, TareError, bad_input

DESCRIPTION = """\
tare measures the overhead of containers and virtual machines on this host against native execution.
All of them run the same root file system, and every figure has a confidence interval.
A variant is one configured runtime, such as docker/nat. A block runs one workload on all variants, and a case is one
variant in a block."""
EPILOG = """\
examples:
  tare doctor                                   check whether this host is fit for measurements
  tare plan --suite smoke                       show what would run, what is skipped and why, and the duration
  tare run --suite smoke                        measure five workloads in 2 blocks, in a few minutes
  tare run --workload cpu --variant docker      only the CPU workloads, Docker against native
  tare report latest                            render the report of the newest run again
  tare claims                                   check published claims against the stored runs of one host
  tare advise --need own-kernel --need start=5s rank the variants by these needs

exit codes: 0 success, 1 a case failed, 2 usage error or bad input, 3 gate not passed, 4 host not fit, 130 interrupted
"""
RUN_EPILOG = """\
examples:
  tare run                                      the default suite
  tare run --suite full --time 2h               suite full, as many blocks as fit into two hours
  tare run --workload cpu.sysbench --blocks 10  one workload, ten blocks
  tare run --workload cpu --precision 1%        size the number of blocks for ±1 % by a pilot
  tare run --resume latest                      finish the newest run after an interruption
"""
CLAIMS_EPILOG = """\
examples:
  tare claims                                   judge each claim by the newest run that measured it
  tare claims latest --fail-on contradicted     only this run; exit code 3 if it contradicts a claim
"""
ADVISE_EPILOG = """\
examples:
  tare advise --list                            list the names of needs
  tare advise needs.toml                        read the needs from a file, the most important need first
  tare advise --need own-kernel --need start=5s --need cpu=10%
                                                own kernel, start within 5 s, at most 10 % CPU overhead
  tare advise --need disk.fsync:latency-p50=2ms --variant docker --markdown
"""
COMPARE_EPILOG = """\
examples:
  tare compare RUN RUN                                    two runs of this host
  tare compare a.csv b.csv --html page.html               two hosts, with plots
  tare compare latest --baseline last:5 --fail-on regression=5%   a nightly gate: exit code 3 above 5 %
"""
RUN_HELP = "latest, a path, or a unique prefix or suffix of a run's name"


class Parser(argparse.ArgumentParser):
    """A parser that raises TareError for errors and allows no abbreviated options."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise TareError with exit code 2 instead of printing the usage."""
        command = self.prog.partition(" ")[2]
        brief = message.removeprefix("argument ")
        brief = f"{command}: {brief}" if command else brief
        raise TareError(brief, hint=f"{self.prog} --help", code=ExitCode.BAD_INPUT)

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As in argparse, but raises TareError for what is left over: the parser of a command knows its options."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self._refuse(rest)
        return found, rest

    def _refuse(self, rest: Sequence[str]) -> NoReturn:
        command = self.prog.partition(" ")[2]
        word = next((one.partition("=")[0] for one in rest if one.startswith("-")), "")
        if not word:
            fix = f"remove it, or see {self.prog} --help"
            raise bad_input(f"{command} {rest[0]}".lstrip(), "there is one argument too many", fix)
        known = [option for option in self._option_string_actions if option.startswith("--")]
        fix = _suggest(word, known, f"{self.prog} --help")
        raise bad_input(f"{command} {word}".lstrip(), "there is no such option", fix)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        name = str(action.metavar or action.dest)
        where = action.option_strings[0] if action.option_strings else name
        kind = "value" if action.option_strings else name.lower()
        raise bad_input(
            where, f"there is no {kind} {value!r}", _suggest(str(value), action.choices, f"{self.prog} --help")
        )


def _suggest(word: str, known: Iterable[str], command: str) -> str:
    # Imported here: `tare --help` does not need it.
    from harness.definitions.toml_file import suggest

    return suggest(word, known, command)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = Parser(prog="tare", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"tare {__version__}")
    _verbose(top)
    added = top.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, call: Callable[[argparse.Namespace], int], text: str, epilog: str = "") -> Parser:
        one: Parser = added.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".", epilog=epilog)
        one.set_defaults(call=call)
        _verbose(one)
        return one

    _json(command("doctor", commands.doctor, "check whether this host is fit for measurements, and list the fixes"))
    one = command("list", commands.list_, "list runtimes, variants, workloads and suites")
    _json(one)
    _workloads_dir(one)
    one = command("plan", commands.plan, "show what a run would do, without running it")
    _what(one)
    _json(one)
    _out(one, "the results folder, whose earlier runs give the estimates")
    _run(command("run", commands.run, "measure, print a table and write a report", RUN_EPILOG))
    one = command("report", commands.report, "render the report of a stored run again")
    one.add_argument("run", metavar="RUN", nargs="?", default="latest", help=f"{RUN_HELP} (default: latest)")
    _out(one)
    _claims(
        command(
            "claims",
            commands.claims,
            "check published claims (workloads/claims.toml) against stored runs",
            CLAIMS_EPILOG,
        )
    )
    _advise(command("advise", commands.advise, "rank the variants by your needs, from stored runs", ADVISE_EPILOG))
    _compare(command("compare", commands.compare, "compare runs of one or several hosts", COMPARE_EPILOG))
    one = command("export", commands.export, "export the samples of a stored run")
    one.usage = "tare export RUN (--csv FILE | --parquet FILE | --to FORMAT FILE)… [--out DIR] [-v]"
    one.add_argument("run", metavar="RUN", help=RUN_HELP)
    one.add_argument("--csv", type=Path, metavar="FILE", help="the CSV file to write")
    one.add_argument("--parquet", type=Path, metavar="FILE", help="the Parquet file to write")
    one.add_argument(
        "--to",
        nargs=2,
        action="append",
        default=[],
        metavar=("FORMAT", "FILE"),
        help="the file to write in the format of an exporter: csv, parquet or a plug-in's",
    )
    _out(one)
    _image(command("image", commands.image, "build, export or import the root file system"))
    one = command("prune", commands.prune, "remove all but the newest runs from the results folder")
    one.add_argument("--keep", metavar="N", required=True, help="number of runs to keep")
    _out(one)
    one = command(
        "clean", commands.clean, "remove from this host what killed runs left behind (only objects with tare's label)"
    )
    one.add_argument("--packages", action="store_true", help="also remove the system packages that tare installed")
    one.add_argument(
        "--images",
        action="store_true",
        help="also remove the root file system, its images and the data of private daemons",
    )
    one = command("completion", commands.completion, "print a shell completion script", COMPLETION_EPILOG)
    one.set_defaults(parser=top)
    one.add_argument("shell", metavar="SHELL", choices=("bash", "zsh"), help="bash or zsh")
    return top


COMPLETION_EPILOG = """\
examples:
  tare completion bash > ~/.local/share/bash-completion/completions/tare
  tare completion zsh > ~/.zfunc/_tare
"""


def _verbose(one: Parser) -> None:
    one.add_argument("-v", "--verbose", action="store_true", help="log every external command, and show tracebacks")


def _what(one: Parser) -> None:
    """The options that select what to run."""
    one.add_argument("--suite", default="default", metavar="NAME", help="the suite (default: default)")
    one.add_argument(
        "--variant",
        action="append",
        metavar="NAME",
        help="only this variant and the baseline, on every workload; a runtime (docker) stands for its variants in the "
        "suite, or for all of them if the suite lists none; repeatable",
    )
    one.add_argument(
        "--workload",
        action="append",
        metavar="NAME",
        help="only this workload (the suite need not list it); a resource (cpu) stands for the suite's workloads of "
        "that resource; repeatable",
    )
    one.add_argument("--blocks", metavar="N", help="number of blocks per workload (default: the suite's)")
    one.add_argument(
        "--precision",
        metavar="P",
        help="half-width of the overhead's 95 %% interval, for example 1%%; a 10-block pilot sets the number of blocks",
    )
    one.add_argument(
        "--looks",
        metavar="N,N…",
        help="interim analyses after these numbers of blocks; a workload ends at the first one where the "
        "overhead intervals of its primary metric exclude zero on all variants",
    )
    one.add_argument("--time", metavar="DURATION", help="run as many blocks as fit into 90s, 30m, 2h …")
    one.add_argument("--seed", metavar="N", help="seed of the random order of variants (default: a new seed)")
    one.add_argument(
        "--baseline", default="native", metavar="NAME", help="the variant to compare others with (default: native)"
    )
    _workloads_dir(one)


def _run(one: Parser) -> None:
    _what(one)
    _json(one)
    _out(one)
    one.add_argument("--dry-run", action="store_true", help="show the plan and exit")
    one.add_argument("--resume", metavar="RUN", help=f"finish an interrupted run: {RUN_HELP}")


def _claims(one: Parser) -> None:
    one.add_argument("runs", metavar="RUN", nargs="*", help=f"{RUN_HELP} (default: all runs of the newest run's host)")
    shown = one.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="JSON on stdout, for scripts")
    shown.add_argument("--markdown", action="store_true", help="Markdown on stdout")
    one.add_argument("--fail-on", choices=("contradicted",), help="exit with code 3 if a claim is contradicted")
    _workloads_dir(one)
    _out(one)


def _advise(one: Parser) -> None:
    one.add_argument("file", type=Path, metavar="NEEDS", nargs="?", help="a TOML file of needs (docs/advice.md)")
    one.add_argument(
        "--need",
        action="append",
        metavar="NAME[=LIMIT]",
        help="required limit, or maximum overhead with %%; no limit: rank only; repeatable, most important first",
    )
    one.add_argument(
        "--list", action="store_true", help="list the names of needs, with the metric or fact that decides each"
    )
    one.add_argument(
        "--run",
        action="append",
        metavar="RUN",
        help="use only this run; repeatable (default: all runs of the newest run's host)",
    )
    one.add_argument(
        "--variant",
        action="append",
        metavar="NAME",
        help="only this variant or runtime; repeatable (default: all but baselines)",
    )
    shown = one.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="JSON on stdout, for scripts")
    shown.add_argument("--markdown", action="store_true", help="Markdown on stdout")
    _workloads_dir(one)
    _out(one)


def _compare(one: Parser) -> None:
    one.add_argument(
        "sides",
        metavar="SIDE",
        nargs="+",
        help="two or more (one with --baseline): a run, its folder, a folder of runs, a .csv or .parquet file; "
        "comma-separate runs to pool them",
    )
    one.add_argument(
        "--baseline",
        metavar="SIDE",
        help="the side to compare with; last:K stands for the K newest finished runs of the same host before the "
        "compared one, without runs of which more than a tenth of the blocks was discarded",
    )
    one.add_argument("--against", metavar="VARIANT", help="normalize each run by this variant (default: its baseline)")
    one.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=("definition", "parameters", "shape", "emulated"),
        help="compare figures although this differs, or although one host is emulated; repeatable",
    )
    one.add_argument(
        "--fail-on",
        metavar="GATE",
        help="regression=5%%: exit with code 3 if the whole 95 %% interval of a primary metric is above +5 %%; this "
        "needs at least three runs on one side",
    )
    shown = one.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="JSON on stdout, for scripts")
    shown.add_argument("--markdown", action="store_true", help="Markdown on stdout")
    one.add_argument("--html", type=Path, metavar="FILE", help="also write an HTML page with plots")
    _out(one)


def _image(one: Parser) -> None:
    one.add_argument("action", metavar="ACTION", choices=("build", "export", "import"), help="build, export or import")
    one.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="the file to export to or import from (not for build)"
    )


def _json(one: Parser) -> None:
    one.add_argument("--json", action="store_true", help="JSON on stdout, for scripts")


def _workloads_dir(one: Parser) -> None:
    one.add_argument(
        "--workloads-dir", type=Path, metavar="DIR", help="the folder of workloads (default: workloads in the checkout)"
    )


def _out(one: Parser, text: str = "the results folder") -> None:
    one.add_argument("--out", type=Path, metavar="DIR", help=f"{text} (default: results in the checkout)")
