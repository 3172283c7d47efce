"""Bad TOML and bad numbers are refused with file, line, field and a fix; good ones become the model."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.definitions.suites import load_suite
from harness.definitions.toml_file import read_document
from harness.definitions.workloads import load_workload, load_workloads
from harness.errors import ExitCode, TareError
from harness.model.placeholders import render
from harness.paths import data

GOOD = """\
name = "cpu.x"
title = "A title"
argv = ["sysbench", "--time={seconds}", "--threads={threads}"]
reader = "sysbench"
timeout = 60
[parameters]
seconds = 1
[[metrics]]
name = "rate"
source = "events"
unit = "1/s"
direction = "higher"
primary = true
"""
SUITE = """\
name = "smoke"
summary = "Every part once"
workloads = ["cpu.x"]
blocks = 2
[variants]
cpu = ["native", "libvirt/{accelerator}"]
"""
SERVER = '[server]\nargv = ["serve", "{port}"]\nport = 5201\n'


def workload(folder: Path, text: str, name: str = "cpu.x.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> TareError:
    with pytest.raises(TareError) as caught:
        load_workload(path)
    assert caught.value.code is ExitCode.BAD_INPUT
    assert caught.value.hint
    assert str(path) in caught.value.brief
    assert "\n" not in caught.value.brief
    return caught.value


def test_a_good_workload_becomes_the_model(tmp_path: Path) -> None:
    found = load_workload(workload(tmp_path, GOOD))
    assert found.argv == ("sysbench", "--time={seconds}", "--threads={threads}")
    assert found.timeout == 60.0
    assert found.metrics[0].primary
    assert found.parameters == {"seconds": 1}
    assert len(found.definition) == 12


def test_definition_follows_content_and_not_layout(tmp_path: Path) -> None:
    first = load_workload(workload(tmp_path, GOOD)).definition
    assert load_workload(workload(tmp_path, "# a comment\n\n" + GOOD)).definition == first
    assert load_workload(workload(tmp_path, GOOD.replace("seconds = 1", "seconds = 2"))).definition != first


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ("timeout = 60", "timout = 60", ":5: timout", "unknown key"),
        ("timeout = 60", "privileged = true", ":5: privileged", "unknown key"),
        ("timeout = 60", 'volumes = ["/var/run/docker.sock"]', ":5: volumes", "unknown key"),
        ('unit = "1/s"', 'unit = "1/s"\nunti = "x"', ":12: metrics[0].unti", "unknown key"),
        ("timeout = 60", 'timeout = "60"', ":5: timeout", "valid number"),
        ("timeout = 60", "timeout = true", ":5: timeout", "valid number"),
        ("timeout = 60", "timeout = 0", ":5: timeout", "greater than 0"),
        ("timeout = 60", "timeout = nan", ":5: timeout", "nan"),
        ("timeout = 60", "timeout = inf", ":5: timeout", "inf"),
        ("timeout = 60", "timeout = 1e999", ":5: timeout", "inf"),
        ("timeout = 60", "iterations = 1.5", ":5: iterations", "integer"),
        ("timeout = 60", "iterations = -1", ":5: iterations", "greater than 0"),
        ("timeout = 60", "timeout = 2026-01-01", ":5: timeout", "date"),
        ("timeout = 60", "timeout = 60\ntimeout = 61", ":6", "cannot overwrite"),
        ("timeout = 60", "timeout = ", ":5", "invalid TOML"),
        ("timeout = 60", 'definition = "x"', ":5: definition", "filled in by the harness"),
        ("timeout = 60", 'threads = "two"', ":5: threads", "'one' or 'all'"),
        ('reader = "sysbench"\n', "", ": reader", "is missing"),
        ('source = "events"\n', "", ": metrics[0].source", "is missing"),
        ('name = "cpu.x"', 'name = "../x"', ":1: name", "not a name"),
        ('name = "cpu.x"', 'name = "/etc/passwd"', ":1: name", "not a name"),
        ('name = "cpu.x"', 'name = "-cpu.x"', ":1: name", "not a name"),
        ('name = "cpu.x"', 'name = "cpu.$(id)"', ":1: name", "not a name"),
        ('name = "cpu.x"', 'name = "cpu.<b>"', ":1: name", "not a name"),
        ('name = "cpu.x"', 'name = "cpu.x\\n"', ":1: name", "line break"),
        ('name = "cpu.x"', 'name = "cpu.y"', ":1: name", "not the file's name"),
        ('title = "A title"', 'title = "A \\u001b[31mtitle"', ":2: title", "control character"),
        ('"sysbench"', '"sys\\u0000bench"', ":3: argv[0]", "control character"),
        ("{threads}", "{thread}", ":3: argv[2]", "not a parameter"),
        ("{threads}", "{scratch}", ":3: argv[2]", "without scratch space"),
        ("{threads}", "{port}", ":3: argv[2]", "without a server"),
        ("{threads}", "{", ":3: argv[2]", "single {"),
        ("seconds = 1", "seconds = 1\nextra = 2", ":8: parameters.extra", "no command uses it"),
        ("seconds = 1", "seconds = -1", ":7: parameters.seconds", "negative"),
        ("seconds = 1", 'seconds = "1; reboot"', ":7: parameters.seconds", "plain word"),
        ("seconds = 1", 'seconds = "--privileged"', ":7: parameters.seconds", "plain word"),
        ("seconds = 1", 'seconds = "../../etc"', ":7: parameters.seconds", "plain word"),
        ("seconds = 1", "seconds = true", ":7: parameters.seconds", "True"),
        ("seconds = 1", "seconds = 1\nport = 2", ":8: parameters.port", "filled in by the harness"),
        ("primary = true", "primary = false", "metrics", "no metric is primary"),
        ("[parameters]", SERVER.replace("5201", "80") + "[parameters]", ":8: server.port", "greater than 1023"),
    ],
)
def test_a_bad_workload_is_refused_with_line_and_field(
    tmp_path: Path, old: str, new: str, where: str, says: str
) -> None:
    assert old in GOOD
    brief = refusal(workload(tmp_path, GOOD.replace(old, new, 1))).brief
    assert where in brief
    assert says in brief


BOOT = """\
name = "boot.x"
title = "A title"
measure = "boot"
cache = "cold"
[[metrics]]
name = "ready"
source = "ready-requested"
unit = "s"
direction = "lower"
primary = true
"""


def test_a_boot_may_be_cold(tmp_path: Path) -> None:
    assert load_workload(workload(tmp_path, BOOT, "boot.x.toml")).cache == "cold"
    assert load_workload(workload(tmp_path, BOOT.replace('cache = "cold"\n', ""), "boot.x.toml")).cache == "warm"


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ('cache = "cold"', 'cache = "hot"', ":4: cache", "'warm' or 'cold'"),
        ('cache = "cold"', "cache = true", ":4: cache", "'warm' or 'cold'"),
        ("ready-requested", "ready", ":7: metrics[0].source", "the measure boot has no"),
        ("ready-requested", "ready-requested-created", ":7: metrics[0].source", "the measure boot has no"),
        ("ready-requested", "redy-requested", ":7: metrics[0].source", "redy is not a milestone"),
        ('measure = "boot"', 'argv = ["x"]\nreader = "fio"', ":5: cache", "the measure command does not use it"),
        ("[[metrics]]", f"{SERVER}[[metrics]]", ":5: server", "the measure boot does not use it"),
    ],
)
def test_a_bad_boot_is_refused_with_line_and_field(tmp_path: Path, old: str, new: str, where: str, says: str) -> None:
    brief = refusal(workload(tmp_path, BOOT.replace(old, new, 1), "boot.x.toml")).brief
    assert where in brief
    assert says in brief


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ("instances = 3", "instances = 0", "parameters.instances", "not a whole number from 1 to 100"),
        ("instances = 3", "instances = 2.5", "parameters.instances", "not a whole number"),
        ("instances = 3\n", "", "parameters.instances", "is missing"),
        (
            "instances = 3",
            "instances = 3\ncount = 1",
            "parameters.count",
            "the measure footprint has no such parameter",
        ),
        ('source = "vmm"', 'source = "rss"', "metrics[3].source", "the measure footprint has no source 'rss'"),
    ],
)
def test_a_measures_own_parameters_and_sources_are_checked(
    tmp_path: Path, old: str, new: str, where: str, says: str
) -> None:
    text = (data("workloads") / "footprint.idle.toml").read_text()
    assert old in text
    brief = refusal(workload(tmp_path, text.replace(old, new, 1), "footprint.idle.toml")).brief
    assert where in brief and says in brief


def test_a_resource_of_its_own_needs_no_change_of_tare(tmp_path: Path) -> None:
    found = load_workload(workload(tmp_path, GOOD.replace("cpu.x", "gpu.x"), "gpu.x.toml"))
    assert found.resource == "gpu"
    for name in ("gpu", "gpu."):
        text = GOOD.replace("cpu.x", name)
        assert "does not begin with a resource" in refusal(workload(tmp_path, text, f"{name}.toml")).brief


def test_an_unknown_measure_suggests_the_right_one(tmp_path: Path) -> None:
    error = refusal(workload(tmp_path, GOOD.replace("timeout = 60", 'measure = "comand"')))
    assert ":5: measure: there is no measure 'comand'" in error.brief
    assert error.hint == "did you mean command?"


def test_an_unknown_key_suggests_the_right_one(tmp_path: Path) -> None:
    assert refusal(workload(tmp_path, GOOD.replace("timeout", "timout"))).hint == "did you mean timeout?"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (GOOD.encode().replace(b"A title", b"A \xff"), "is not UTF-8"),
        (GOOD.encode("utf-16"), "is not UTF-8"),
        (GOOD.encode().replace(b"A title", b"A \0"), "NUL"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "byte-order mark"),
        (GOOD.encode() + b"#" * 2**20, "larger than 1 MiB"),
        (b"x = " + b"[" * 20_000, "nested too deeply"),
        (b"x = " + b"9" * 5000, "invalid TOML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "cpu.x.toml"
    path.write_bytes(data)
    assert says in refusal(path).brief


def test_symlinks_and_special_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_text(GOOD)
    (tmp_path / "cpu.x.toml").symlink_to(tmp_path / "real")
    assert "symbolic link" in refusal(tmp_path / "cpu.x.toml").brief
    os.mkfifo(tmp_path / "cpu.y.toml")
    assert "not a regular file" in refusal(tmp_path / "cpu.y.toml").brief


@pytest.mark.skipif(os.geteuid() != 0, reason="only root refuses world-writable files")
def test_root_refuses_what_anyone_may_write(tmp_path: Path) -> None:
    path = workload(tmp_path, GOOD)
    path.chmod(0o666)
    assert "may be written by any user" in refusal(path).brief


def test_server_gives_address_and_port(tmp_path: Path) -> None:
    text = GOOD.replace("{threads}", "{address}:{port}").replace("[parameters]", SERVER + "[parameters]")
    found = load_workload(workload(tmp_path, text))
    assert found.server is not None
    assert found.server.port == 5201


CHAIN = GOOD.replace("[parameters]\n", 'measure = "chain"\n[parameters]\nlength = 3\nmib = 512\n', 1)
CHAIN += SERVER.replace("{port}", "{upstream}")


def test_a_chains_server_is_told_of_the_next_one(tmp_path: Path) -> None:
    found = load_workload(workload(tmp_path, CHAIN))
    assert found.server
    assert found.server.argv == ("serve", "{upstream}")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("length = 3\n", "", "parameters.length: is missing"),
        ("mib = 512", "mib = 0.5", "0.5 is not a whole number from 1 to 1,000,000"),
        ("mib = 512", "mib = 512\nlenght = 3", "the measure chain has no such parameter"),
        (SERVER.replace("{port}", "{upstream}"), "", "is missing"),
        ('measure = "chain"\n', "", "{upstream} is not a parameter"),
        ('reader = "sysbench"\n', "", "is missing"),
    ],
)
def test_a_bad_chain_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in CHAIN
    assert says in refusal(workload(tmp_path, CHAIN.replace(old, new, 1))).brief


def test_a_servers_own_preparation_is_checked_too(tmp_path: Path) -> None:
    text = GOOD + SERVER + 'prepare = ["make", "{nothing}"]\n'
    assert "server.prepare" in refusal(workload(tmp_path, text)).brief


def test_render_fills_in_and_keeps_arguments_whole() -> None:
    argv = ("awk", "{{print}}", "{a}-{threads}", "{{{a}}}")
    assert render(argv, {"a": "x y"}, {"threads": 2}) == ("awk", "{print}", "x y-2", "{x y}")
    with pytest.raises(TareError, match="no value"):
        render(("{port}",), {}, {})


def test_a_suite_and_its_folder(tmp_path: Path) -> None:
    workload(tmp_path, GOOD)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "smoke.toml").write_text(SUITE)
    assert list(load_workloads(tmp_path)) == ["cpu.x"]
    assert load_suite("smoke", tmp_path).variants == {"cpu": ("native", "libvirt/{accelerator}")}
    with pytest.raises(TareError) as caught:
        load_suite("smok", tmp_path)
    assert caught.value.hint == "did you mean smoke?"
    with pytest.raises(TareError, match="not a name"):
        load_suite("../smoke", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('["cpu.x"]', '["cpu.x", "cpu.x"]', "workloads: cpu.x is listed twice"),
        ('["cpu.x"]', '["cpu.x", "disk.x"]', "no variants for disk.x"),
        ("cpu =", "cpus =", "variants: has no variants for cpu.x"),
        ("blocks = 2", "blocks = 0", ":4: blocks"),
        ("blocks = 2", "blocks = 1_0.5", ":4: blocks"),
    ],
)
def test_a_bad_suite_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "smoke.toml").write_text(SUITE.replace(old, new))
    with pytest.raises(TareError) as caught:
        load_suite("smoke", tmp_path)
    assert caught.value.code is ExitCode.BAD_INPUT
    assert says in caught.value.brief


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    try:
        read_document(path)
    except TareError as error:
        assert error.code is ExitCode.BAD_INPUT


def test_a_lifecycle_workload_names_a_scenario_and_its_figures(tmp_path: Path) -> None:
    good = (data("workloads") / "lifecycle.pause.toml").read_text(encoding="utf-8")
    name = "lifecycle.pause.toml"
    assert load_workload(workload(tmp_path, good, name)).parameters["scenario"] == "pause"
    for old, new, complaint in (
        ('scenario = "pause"', 'scenario = "paus"', "did you mean pause"),
        ('source = "resume"', 'source = "restore"', "the measure lifecycle has no source 'restore'"),
        ("settle_ms = 1000\n", "", "add settle_ms"),
    ):
        assert old in good
        assert complaint in str(refusal(workload(tmp_path, good.replace(old, new), name)))


BESIDE = (
    GOOD.replace("cpu.x", "interference.x")
    .replace("timeout = 60", 'measure = "interference"')
    .replace("seconds = 1", 'seconds = 1\nplacement = "apart"\nsettle = 1')
    + """\
[[metrics]]
name = "slowdown.native"
source = "beside native"
unit = "1"
direction = "lower"
[aggressor]
argv = ["sysbench"]
"""
)


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ('[aggressor]\nargv = ["sysbench"]\n', "", ": aggressor", "is missing"),
        ('placement = "apart"', 'placement = "aparte"', ": parameters.placement", "not a placement"),
        ('placement = "apart"\n', "", ": parameters.placement", "is missing"),
        ("settle = 1", 'settle = "1"', ": parameters.settle", "'1' is not a number from 0 to 3,600"),
        ('"beside native"', '"events"', ": metrics", "the victim has"),
        ('"beside native"', '"beside NATIVE"', ": metrics", "the victim has"),
        ('source = "events"', 'source = "beside native"', ": metrics", "the victim has"),
        ('argv = ["sysbench"]', 'argv = ["sysbench"]\nargs = 1', ": aggressor.args", "unknown key"),
        ('argv = ["sysbench"]', 'argv = ["{x}"]', ": aggressor.argv[0]", "not a parameter"),
        (
            'argv = ["sysbench"]',
            'argv = ["x"]\n[aggressor.server]\nargv = ["y"]\nport = 5202',
            ": aggressor.server",
            "only one of victim and aggressor has a server",
        ),
        ('measure = "interference"', "", ": aggressor", "the measure command does not use it"),
    ],
)
def test_a_wrong_interference_workload_says_where_and_what(
    old: str, new: str, where: str, says: str, tmp_path: Path
) -> None:
    assert load_workload(workload(tmp_path, BESIDE, "interference.x.toml")).aggressor
    assert old in BESIDE
    error = refusal(workload(tmp_path, BESIDE.replace(old, new, 1), "interference.x.toml"))
    assert where in re.sub(r":[0-9]+:", ":", error.brief)
    assert says in error.brief


def test_a_measure_that_computes_its_figures_refuses_others(tmp_path: Path) -> None:
    text = GOOD.replace("cpu.x", "isolation.x").replace("timeout = 60", 'measure = "isolation"')
    error = refusal(workload(tmp_path, text, "isolation.x.toml"))
    assert "metrics[0].source: the measure isolation has no source 'events'" in error.brief
    load_workload(workload(tmp_path, text.replace('"events"', '"capabilities"'), "isolation.x.toml"))
