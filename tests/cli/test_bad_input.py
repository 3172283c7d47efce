"""Bad input: exit code 2, one clear message, and nothing is created."""

from pathlib import Path

import pytest

from tests.cli.conftest import Tare


def refused(tare: Tare, *words: str) -> str:
    before = sorted(path for path in tare.home.rglob("*"))
    done = tare(*words, code=2)
    assert done.stdout == ""
    assert done.stderr.count("tare: ") == 1
    assert "fix: " in done.stderr
    assert sorted(path for path in tare.home.rglob("*")) == before
    return done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--blocks", "0"], "--blocks"),
        (["--blocks", "-1"], "--blocks"),
        (["--blocks", "1_000"], "--blocks"),
        (["--blocks", "１"], "--blocks"),
        (["--blocks", "nan"], "--blocks"),
        (["--blocks", "1e999"], "--blocks"),
        (["--blocks", "10001"], "--blocks"),
        (["--time", "inf"], "--time"),
        (["--time", "0s"], "--time"),
        (["--time", "-5m"], "--time"),
        (["--time", "30"], "--time"),
        (["--seed", "x"], "--seed"),
        (["--suite", "smok"], "did you mean smoke?"),
        (["--suite", "../smoke"], "not a name"),
        (["--suite", "/etc/passwd"], "not a name"),
        (["--suite", "smoke;id"], "not a name"),
        (["--variant", "fake/basline"], "did you mean fake/baseline?"),
        (["--variant", "--privileged"], "--variant"),
        (["--variant", "fake/<b>"], "no variant"),
        (["--workload", "cpu.stedy"], "did you mean cpu.steady?"),
        (["--baseline", "nativ"], "--baseline"),
        (["--block", "3"], "run --block: there is no such option\n  fix: did you mean --blocks?"),
        (["--block=3"], "run --block: there is no such option\n  fix: did you mean --blocks?"),
        (["3"], "run 3: there is one argument too many"),
        (["--time", "5"], "'5' has no unit\n  fix: write 5s, 5m or 5h"),
        (["--looks", "5,4"], "give increasing numbers, each 5 or more, for example --looks 10,20,40"),
        (["--resume", "nothing"], "--resume: there are no runs"),
    ],
)
def test_a_bad_word(tare: Tare, words: list[str], says: str) -> None:
    base = tare.run_words() if "--suite" in words else tare.run_words("--suite", "smoke")
    assert says in refused(tare, *base, *words)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("timeout = 5", "timout = 5", "cpu.steady.toml:7: timout: unknown key"),
        ("timeout = 5", "timeout = nan", "cpu.steady.toml:7: timeout"),
        ("timeout = 5", "timeout = 5\ntimeout = 6", "cpu.steady.toml:8"),
        ("timeout = 5", "privileged = true", "cpu.steady.toml:7: privileged: unknown key"),
        ('name = "cpu.steady"', 'name = "../steady"', "cpu.steady.toml:1: name"),
        ("{seconds}", "{secnds}", "did you mean {seconds}?"),
        ("iterations = 3", "iterations = 0", "cpu.steady.toml:6: iterations"),
        ("timeout = 5", 'cache = "icy"', "cpu.steady.toml:7: cache"),
        ("timeout = 5", 'cache = "cold"', "cpu.steady.toml:7: cache: the measure command does not use it"),
    ],
)
def test_a_bad_workload_file(tare: Tare, old: str, new: str, says: str) -> None:
    path = tare.workloads / "cpu.steady.toml"
    path.write_text(path.read_text().replace(old, new, 1))
    assert says in refused(tare, *tare.run_words("--suite", "smoke"))


def test_a_suite_that_names_what_is_not_there(tare: Tare) -> None:
    path = tare.workloads / "suites" / "smoke.toml"
    path.write_text(path.read_text().replace("fake/slow", "fake/slwo"))
    assert "did you mean fake/slow?" in refused(tare, *tare.run_words("--suite", "smoke"))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["rnu"],
        ["prune"],
        ["prune", "--keep", "-1"],
        ["export", "latest"],
        ["report", "latest"],
        ["image", "export"],
    ],
)
def test_bad_usage_of_other_commands(tare: Tare, words: list[str]) -> None:
    out = ["--out", str(tare.results)] if words and words[0] in ("prune", "report") else []
    refused(tare, *words, *out)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["plna"], "COMMAND: there is no command 'plna'\n  fix: did you mean plan?"),
        (["--verbos", "list"], "--verbos: there is no such option\n  fix: did you mean --verbose?"),
        (["image", "exprt"], "ACTION: there is no action 'exprt'\n  fix: did you mean export?"),
        (["completion", "fish"], "SHELL: there is no shell 'fish'\n  fix: use one of: bash, zsh"),
        (["compare", "a", "b", "--allow", "shap"], "--allow: there is no value 'shap'\n  fix: did you mean shape?"),
        (
            ["compare", "a", "--baselin", "b"],
            "compare --baselin: there is no such option\n  fix: did you mean --baseline?",
        ),
        (["compare", "absent", "absent"], "SIDE: there is no file absent, and there are no runs in"),
        (["compare", "absent.csv", "absent.csv"], "SIDE: there is no file absent.csv"),
        (["compare", "absent", "--baseline", "last:0"], "--baseline last:K: '0' is not a whole number from 1 to 100"),
        (["compare", "absent"], "SIDE: there is only one side"),
        (["image", "import", "absent"], "absent: there is no such file"),
        (["prune", "--keep"], "prune: --keep: expected one argument"),
    ],
)
def test_a_wrong_word_of_other_commands_is_named_with_the_fix(tare: Tare, words: list[str], says: str) -> None:
    out = ["--out", str(tare.results)] if words[0] == "compare" else []
    assert says in refused(tare, *words, *out)


def test_a_start_of_runs_is_suggested_in_the_folder_that_has_none(tare: Tare) -> None:
    said = refused(tare, "report", "latest", "--out", str(tare.results))
    assert f"RUN: there are no runs in {tare.results}" in said
    assert f"tare run --out {tare.results}" in said


def test_out_that_is_a_file(tare: Tare) -> None:
    tare.results.write_text("")
    assert "not a folder" in refused(tare, *tare.run_words("--suite", "smoke"))


@pytest.mark.parametrize("command", ["plan", "list", "run"])
def test_a_missing_folder_of_workloads_is_named(tare: Tare, tmp_path: Path, command: str) -> None:
    said = refused(tare, command, "--workloads-dir", str(tmp_path / "absent"))
    assert f"--workloads-dir: {tmp_path / 'absent'} is not a folder of workloads" in said
