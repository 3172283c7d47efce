"""What may stand on the command line; nothing heavy is imported before a command needs it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from harness import __version__
from harness.cli import commands
from harness.errors import ExitCode, TareError

DESCRIPTION = """\
tare weighs what each layer of virtualization (containers, virtual machines) costs on this host,
from one root filesystem, and says how sure it is."""
EPILOG = """\
examples:
  tare doctor                                   is this host fit to measure?
  tare plan --suite smoke                       what would run, what not and why, and how long it takes
  tare run --suite smoke                        measure everything once, in a few minutes
  tare run --workload cpu --variant docker      only the CPU workloads, Docker against native
  tare report latest                            render the newest run again
  tare claims                                   which of a document's sentences hold on this host?
  tare advise --need own-kernel --need start=5s which variant is right for me?

exit codes: 0 fine, 1 a case failed, 2 usage or bad input, 3 a gate was not passed, 4 host not fit, 130 interrupted
"""
RUN_EPILOG = """\
examples:
  tare run                                      the default suite
  tare run --suite full --time 2h               everything, in two hours
  tare run --workload cpu.sysbench --blocks 10  one workload, ten blocks
  tare run --workload cpu --precision 1%        until each interval is ±1 % wide, planned by a pilot of ten
  tare run --resume latest                      finish what was interrupted
"""
CLAIMS_EPILOG = """\
examples:
  tare claims                                   by all runs of this host, the newest that measured a thing first
  tare claims latest --fail-on contradicted     by one run; exit code 3 when it contradicts a claim
"""
ADVISE_EPILOG = """\
examples:
  tare advise --list                            the names that needs have
  tare advise needs.toml                        by a file, the most important need first
  tare advise --need own-kernel --need start=5s --need cpu=10%
                                                a kernel of its own, 5 s or better, at most 10 % overhead
  tare advise --need disk.fsync:latency-p50=2ms --variant docker --markdown
"""
COMPARE_EPILOG = """\
examples:
  tare compare RUN RUN                                    two runs of this host
  tare compare a.csv b.csv --html page.html               two hosts, with plots
  tare compare latest --baseline last:5 --fail-on regression=5%   a nightly gate: exit code 3 when it is certain
"""
RUN_HELP = "the run: latest, its folder, or its name or the beginning or end of that"


class Parser(argparse.ArgumentParser):
    """A parser whose errors look like all others, and whose options cannot be abbreviated."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise TareError instead of printing the usage."""
        room = self.prog.partition(" ")[2]
        brief = f"{room}: {message}" if room else message
        raise TareError(brief, hint=f"{self.prog} --help", code=ExitCode.BAD_INPUT)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(prog="tare", description=DESCRIPTION, epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"tare {__version__}")
    _verbose(top)
    rooms = top.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)

    def command(name: str, call: Callable[[argparse.Namespace], int], text: str, epilog: str = "") -> Parser:
        one: Parser = rooms.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".", epilog=epilog)
        one.set_defaults(call=call)
        one.add_argument(
            "-v", "--verbose", action="store_true", help="say every command that is run, and show tracebacks"
        )
        return one

    _json(command("doctor", commands.doctor, "say what this host is, whether it is fit to measure, and what to fix"))
    one = command("list", commands.list_, "list runtimes with their variants, workloads and suites")
    _json(one)
    _workloads_dir(one)
    one = command("plan", commands.plan, "show what a run would do, without doing anything")
    _what(one)
    _json(one)
    _out(one)
    _run(command("run", commands.run, "measure, and end with a table and a report", RUN_EPILOG))
    one = command("report", commands.report, "render the report of a stored run again")
    one.add_argument("run", metavar="RUN", nargs="?", default="latest", help=RUN_HELP)
    _out(one)
    _claims(command("claims", commands.claims, "judge the sentences of a document by stored runs", CLAIMS_EPILOG))
    _advise(command("advise", commands.advise, "say which variants meet your needs, by stored runs", ADVISE_EPILOG))
    _compare(command("compare", commands.compare, "compare runs, also of other hosts", COMPARE_EPILOG))
    one = command("export", commands.export, "write a stored run's samples")
    one.add_argument("run", metavar="RUN", help=RUN_HELP)
    one.add_argument("--csv", type=Path, metavar="FILE", help="the CSV file to write")
    one.add_argument("--parquet", type=Path, metavar="FILE", help="the Parquet file to write, for many or large runs")
    _out(one)
    _image(command("image", commands.image, "build, export or import the one root filesystem"))
    one = command("prune", commands.prune, "remove all but the newest runs from the results folder")
    one.add_argument("--keep", metavar="N", required=True, help="how many of the newest runs stay")
    _out(one)
    one = command(
        "clean", commands.clean, "remove what interrupted runs left on this host: only what carries our label"
    )
    one.add_argument("--packages", action="store_true", help="also the system packages that tare installed")
    one.add_argument("--images", action="store_true", help="also the root and its images")
    one = command("completion", commands.completion, "print a shell's completion script", COMPLETION_EPILOG)
    one.set_defaults(parser=top)
    one.add_argument("shell", choices=("bash", "zsh"), help="the shell")
    return top


COMPLETION_EPILOG = """\
examples:
  tare completion bash > ~/.local/share/bash-completion/completions/tare
  tare completion zsh > ~/.zfunc/_tare
"""


def _verbose(one: Parser) -> None:
    one.add_argument("-v", "--verbose", action="store_true", help="say every command that is run, and show tracebacks")


def _what(one: Parser) -> None:
    """The options that say what to run."""
    one.add_argument("--suite", default="default", metavar="NAME", help="the suite (default: default)")
    one.add_argument(
        "--variant",
        action="append",
        metavar="NAME",
        help="run this variant on every workload, or a runtime's variants; repeat for more",
    )
    one.add_argument(
        "--workload", action="append", metavar="NAME", help="only this workload, or a resource's (cpu); repeat for more"
    )
    one.add_argument("--blocks", metavar="N", help="blocks per workload (default: the suite's)")
    one.add_argument("--precision", metavar="P", help="as many blocks as a pilot says that ±P needs (1%%)")
    one.add_argument("--looks", metavar="N,N…", help="blocks at which a workload may end, if decided then")
    one.add_argument("--time", metavar="DURATION", help="as many blocks as fit: 90s, 30m, 2h")
    one.add_argument("--seed", metavar="N", help="seed of the orders (default: a new one)")
    one.add_argument(
        "--baseline", default="native", metavar="NAME", help="the variant that others are divided by (default: native)"
    )
    _workloads_dir(one)


def _run(one: Parser) -> None:
    _what(one)
    _json(one)
    _out(one)
    one.add_argument("--dry-run", action="store_true", help="only show the plan")
    one.add_argument(
        "--resume", metavar="RUN", help=f"finish an interrupted run ({RUN_HELP.removeprefix('the run: ')})"
    )


def _claims(one: Parser) -> None:
    one.add_argument("runs", metavar="RUN", nargs="*", help=f"{RUN_HELP} (default: all runs of the newest run's host)")
    shown = one.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="JSON on stdout, for scripts")
    shown.add_argument("--markdown", action="store_true", help="Markdown on stdout")
    one.add_argument("--fail-on", choices=("contradicted",), help="exit with 3 when a claim is contradicted")
    _workloads_dir(one)
    _out(one)


def _advise(one: Parser) -> None:
    one.add_argument("file", type=Path, metavar="NEEDS", nargs="?", help="a TOML file of needs (docs/advice.md)")
    one.add_argument(
        "--need",
        action="append",
        metavar="NAME[=LIMIT]",
        help="a need: LIMIT or better, in %% an overhead; without it only ranks; repeat for more, most important first",
    )
    one.add_argument("--list", action="store_true", help="list the short names of needs and what answers them")
    one.add_argument("--run", action="append", metavar="RUN", help="by this run; repeat for more (default: all here)")
    one.add_argument(
        "--variant", action="append", metavar="NAME", help="only this variant or runtime (default: all but baselines)"
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
        help="a run, its folder, a folder of runs, a .csv or .parquet; several with commas between are one side",
    )
    one.add_argument("--baseline", metavar="SIDE", help="what all are compared with: a side, or last:K fit runs here")
    one.add_argument("--against", metavar="VARIANT", help="the variant each run is normalised to (default: its own)")
    one.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=("definition", "parameters", "shape", "emulated"),
        help="compare although this differs; repeat for more",
    )
    one.add_argument("--fail-on", metavar="GATE", help="regression=5%%: exit code 3 when that is certain")
    shown = one.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="JSON on stdout, for scripts")
    shown.add_argument("--markdown", action="store_true", help="Markdown on stdout")
    one.add_argument("--html", type=Path, metavar="FILE", help="also write a page with plots")
    _out(one)


def _image(one: Parser) -> None:
    one.add_argument("action", choices=("build", "export", "import"), help="what to do")
    one.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the file to export to or import from")


def _json(one: Parser) -> None:
    one.add_argument("--json", action="store_true", help="JSON on stdout, for scripts")


def _workloads_dir(one: Parser) -> None:
    one.add_argument(
        "--workloads-dir", type=Path, metavar="DIR", help="a folder of workloads (default: the checkout's)"
    )


def _out(one: Parser) -> None:
    one.add_argument("--out", type=Path, metavar="DIR", help="the results folder (default: the checkout's)")
