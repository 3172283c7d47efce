"""The error that users see: what is wrong, where, and the command or edit that fixes it."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `tare`; scripts may depend on them."""

    FINE = 0
    CASE_FAILED = 1
    BAD_INPUT = 2
    GATE = 3
    HOST_NOT_FIT = 4
    INTERRUPTED = 130


class TareError(Exception):
    """An error with a one-line `brief`, `details` of any number of lines, and the exit code `code`.

    `hint` is the command or edit that fixes it.
    """

    def __init__(self, brief: str, *, details: str = "", hint: str = "", code: ExitCode = ExitCode.CASE_FAILED) -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        lines = [self.brief, *(f"  {line}" for line in self.details.splitlines())]
        if self.hint:
            lines.append(f"  fix: {self.hint}")
        return "\n".join(lines)


def bad_input(where: str, problem: str, fix: str) -> TareError:
    """A usage or input error with exit code 2; `where` is the option, or the file with line and field."""
    return TareError(f"{where}: {problem}", hint=fix, code=ExitCode.BAD_INPUT)


class DeadlineExceeded(TareError):
    """A wait exceeded its deadline."""
