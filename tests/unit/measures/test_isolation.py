"""What the isolation measure makes of what was seen: whose kernel it is decides what a fact means."""

import json
import subprocess
import sys
from typing import Any

import pytest

from harness.measures.isolation import INIT_MODULE, INSIDE, VERSION, _module, _summary

GATE = "".join(f"{number} {'E1' if number in (INIT_MODULE, 165) else 'E14'}\n" for number in range(200))
STATUS = "Name:\tcat\nUid:\t65533\t65533\t65533\t65533\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n"


def seen(**changes: Any) -> dict[str, Any]:
    return {
        "version": VERSION.read_text().strip(), "release": "6.1", "status": STATUS, "lsm": "", "modules": 0,
        "namespaces": {"net": "net:[1]", "pid": "pid:[2]", "pid_for_children": "pid:[2]"},
        "devices": ["/dev/null", "/dev/zero"], "root": "ro,relatime",
    } | changes  # fmt: skip


def test_a_container_is_counted_by_what_the_host_shows() -> None:
    counts, told = _summary(seen(), GATE, {"namespaces": "mnt net pid", "memory limit": "1024"}, shared=True)
    assert counts == {"syscalls-allowed": 198, "capabilities": 14, "devices": 2, "own-namespaces": 3}
    assert (told["kernel"], told["another kernel version than the host's"]) == ("the host's", "no")
    assert told["kernel module"] == "refused (EPERM)"
    assert told["system calls that pass"] == "198 (2 refused, 0 absent, 0 killed, 0 skipped)"
    assert (told["seccomp"], told["no_new_privs"], told["root"], told["user inside"]) == (
        "filter", "yes", "read-only", "65533",
    )  # fmt: skip
    assert told["on the host: memory limit"] == "1024"


def test_a_guests_facts_are_of_its_own_kernel() -> None:
    counts, told = _summary(seen(version="another", modules=12), GATE, {"namespaces": "mnt"}, shared=False)
    assert counts["own-namespaces"] == 2
    assert (told["kernel"], told["another kernel version than the host's"]) == ("its own: 6.1", "yes")
    assert told["capabilities"] == "14, of its own kernel"
    assert told["namespaces apart from the host's"] == "net pid, of its own kernel"


def test_what_the_host_may_not_look_at_is_not_known_and_no_zero() -> None:
    counts, told = _summary(seen(), GATE, {}, shared=True)
    assert "own-namespaces" not in counts
    assert told["namespaces apart from the host's"] == "unknown"


@pytest.mark.parametrize(
    ("answer", "loaded", "shared", "words"),
    [
        ("E1", 0, True, "refused (EPERM)"),
        ("E8", 9, True, "not tried: the host's kernel would load it"),
        ("E38", 0, True, "not tried: the host's kernel would load it"),
        ("E8", 12, False, "yes: 12 are loaded, by its own init"),
        ("E8", 0, False, "possible (tried with an empty module)"),
        ("E38", 0, False, "not supported by its kernel"),
    ],
)
def test_a_module_is_only_told_of(answer: str, loaded: int, shared: bool, words: str) -> None:
    assert _module(answer, loaded, shared=shared) == words


def test_what_runs_inside_says_it_alone() -> None:
    argv = [sys.executable, "-I", "-c", INSIDE.read_text()]
    found = json.loads(subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert found["version"] == VERSION.read_text().strip()
    assert "/dev/null" in found["devices"] and "CapEff" in found["status"] and "net" in found["namespaces"]
