"""Whether a variant can run on this host: answers with a reason and a fix, and the error when it cannot."""

from collections.abc import Iterable

from harness.errors import TareError
from harness.model import Available, Variant
from harness.process import have


def unavailable(reason: str, *, fix: str) -> Available:
    """The answer that a variant cannot run."""
    return Available(ok=False, reason=reason, fix=fix)


def missing(programs: Iterable[str], *, fix: str) -> Available | None:
    """Which of the programs are not installed; None when all are."""
    absent = have(*programs)
    return unavailable(f"not installed: {', '.join(absent)}", fix=fix) if absent else None


def require(variant: Variant, answer: Available | None) -> None:
    """Raise TareError when the answer is that the variant cannot run."""
    if answer is not None and not answer.ok:
        raise TareError(f"{variant.name} cannot run here: {answer.reason}", hint=answer.fix)
