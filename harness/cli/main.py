"""The command `tare`: parse the arguments, call the command, return the exit code."""

import logging
import os
import signal
import sys
from types import FrameType
from typing import Any

from harness.cli.parser import parser
from harness.errors import ExitCode, TareError


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code. Errors go to stderr; -v adds tracebacks."""
    words = sys.argv[1:] if argv is None else argv
    verbose = "-v" in words or "--verbose" in words
    handlers = _catch_signals()
    try:
        arguments = parser().parse_args(words)
        logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
        logging.getLogger("harness").setLevel(logging.DEBUG if verbose else logging.WARNING)
        arguments.command_line = ("tare", *words)
        code: int = arguments.call(arguments)
        sys.stdout.flush()
    except TareError as error:
        if verbose:
            logging.getLogger(__name__).debug("traceback:", exc_info=True)
        print(f"tare: {error}", file=sys.stderr)
        return int(error.code)
    except KeyboardInterrupt:
        print("tare: interrupted", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader closed the pipe (`tare list | head`): flushing the buffer at exit must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.FINE)
    except Exception as error:
        if verbose:
            raise
        print(
            f"tare: {type(error).__name__}: {error}\n  fix: run the command again with -v and report its output",
            file=sys.stderr,
        )
        return int(ExitCode.CASE_FAILED)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code


def _catch_signals() -> dict[signal.Signals, Any]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM; ignore further ones, so that the clean-up completes.

    Returns the previous handlers.
    """
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, interrupt)
    return before
