"""What libkrun's process is told, and that it tells the library so: a library of our own writes its calls down."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.model import Accelerator
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.disks import data_disk
from harness.runtimes.krun import Krun, specification
from tests.unit.runtimes.guests.given import ROOT, SHAPE

PLACE = Place(name="tare-x", directory=Path("/run/x"), entry="beacon", shape=SHAPE, scratch_mib=64)
PREPARED = Prepared(variant=Krun.variants[0], shape=SHAPE, root=ROOT, image=ROOT.digest, accelerator=Accelerator.KVM)
WRITER = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdbool.h>
static int say(const char *what) { fprintf(stderr, "%s\n", what); return 0; }
int krun_set_log_level(uint32_t level) { return 0; }
int krun_create_ctx(void) { return 7; }
int krun_set_vm_config(uint32_t c, uint8_t cpus, uint32_t mib) {
    fprintf(stderr, "machine %u %u %u\n", c, cpus, mib); return 0; }
int krun_add_virtiofs3(uint32_t c, const char *tag, const char *path, uint64_t size, bool only) {
    fprintf(stderr, "share %s %s %d\n", tag, path, only); return 0; }
int krun_add_virtio_console_default(uint32_t c, int in, int out, int err) { return 0; }
int krun_add_virtio_console_multiport(uint32_t c) { return 1; }
int krun_add_console_port_inout(uint32_t c, uint32_t console, const char *name, int in, int out) {
    fprintf(stderr, "port %u %s %d %d\n", console, name, in, out); return 0; }
int krun_add_disk3(uint32_t c, const char *id, const char *path, uint32_t f, bool only, bool direct, uint32_t sync) {
    fprintf(stderr, "disk %s %s %u %d %d %u\n", id, path, f, only, direct, sync); return 0; }
int krun_set_exec(uint32_t c, const char *path, const char *const argv[], const char *const env[]) {
    fprintf(stderr, "run %s", path);
    for (; *argv; argv++) fprintf(stderr, " %s", *argv);
    return say(""); }
int krun_start_enter(uint32_t c) { return -22; }
"""


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the wheel's package, found by Python; its library writes to standard error what it is asked."""
    folder = tmp_path / specification.PACKAGE
    folder.mkdir()
    (folder / "__init__.py").touch()
    (tmp_path / "krun.c").write_text(WRITER)
    (tmp_path / "fw.c").write_text('const char *banner = "Linux version 6.12.3-x (root@h)";\n')
    for source, library in (("krun.c", "libkrun.so"), ("fw.c", "libkrunfw.so.5")):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / library, tmp_path / source], check=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_the_library_is_asked_for_a_matched_guest(wheel: Path) -> None:
    found = specification.libraries()
    assert found is not None
    words = specification.command(PREPARED, PLACE, found, "0f1e2d3c-0000-4000-8000-000000000000", "")
    assert words[:6] == ["taskset", "--cpu-list", "1,3", "setpriv", "--pdeathsig", "KILL"]
    done = subprocess.run(words[6:], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines() == [
        "machine 7 2 512",
        "share /dev/root /r 1",
        "port 1 tare 0 1",
        f"disk data {data_disk(PLACE)} 0 0 1 2",
        "run /bin/sh /opt/tare/virtiofs.sh tare.entry=beacon tare.scratch=/dev/vda",
        "libkrun: krun_start_enter: Invalid argument",
    ]


def test_the_wheel_tells_its_kernel_and_has_not_to_be_imported(wheel: Path) -> None:
    (wheel / "__init__.py").write_text("raise SystemExit\n")
    found = specification.libraries()
    assert found is not None and found.kernel_release() == "6.12.3-x"


def test_without_a_data_disk_or_a_card_the_guest_is_told_of_none(wheel: Path) -> None:
    found, place = specification.libraries(), replace(PLACE, scratch_mib=0)
    assert found is not None
    config = specification.config(PREPARED, place, found, "0f1e2d3c-0000-4000-8000-000000000000", "")
    assert json.dumps(config) and config["disks"] == []
    assert config["argv"] == [*specification.FIRST, "tare.entry=beacon"]


def test_without_the_wheel_it_is_unavailable_with_a_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, specification.PACKAGE, raising=False)
    runtime = Krun()
    answer = runtime.available(runtime.variants[0])
    assert not answer.ok and "not installed" in answer.reason and answer.fix == "make krun"
